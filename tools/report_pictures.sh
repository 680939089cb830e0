#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pictures of a page that `sluice report` wrote, to look at: light, dark, as on a phone (400 pixels), and printed.
# Usage: report_pictures.sh REPORT.html FOLDER   (needs Chromium; CHROMIUM: its command)
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: report_pictures.sh REPORT.html FOLDER" >&2; exit 2; }
page=$(realpath "$1") folder=$2
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome)} || { echo "no Chromium here" >&2; exit 77; }
mkdir -p "$folder"
folder=$(realpath "$folder")
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
browse() { timeout 120 "$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=500 --user-data-dir="$profile" "$@" >/dev/null 2>&1; }
browse --window-size=1000,2400 --screenshot="$folder/light.png" "file://$page"
browse --force-dark-mode --blink-settings=preferredColorScheme=0 --window-size=1000,2400 --screenshot="$folder/dark.png" "file://$page"
# A window is never narrower than 500 pixels; a frame in it is.
printf '<body style="margin:0"><iframe src="file://%s" style="width:400px;height:4000px;border:0"></iframe>' "$page" >"$profile/frame.html"
browse --window-size=500,4000 --screenshot="$folder/phone.png" "file://$profile/frame.html"
browse --no-pdf-header-footer --print-to-pdf="$folder/print.pdf" "file://$page"
ls "$folder"/{light,dark,phone}.png "$folder/print.pdf"
