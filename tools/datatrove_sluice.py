#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice's answers as documents of a datatrove pipeline: `read_scores` is an adapter for datatrove's JsonlReader, `PerplexityFilter` keeps
documents that a model finds likely. As a program it filters an export: docs/datatrove.md."""
import argparse
import math

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def read_scores(reader, data, path, id_in_file):
    """A line of `sluice export`: text and id; all else, and the perplexity of scored texts, is metadata."""
    data = dict(data)
    metadata = data.pop("metadata", None) or {}
    text, name = data.pop("text", ""), data.pop("id", f"{path}/{id_in_file}")
    if data.get("logprob_mean") is not None:
        data["perplexity"] = math.exp(-data["logprob_mean"])
    return {"text": text, "id": str(name), "metadata": {**metadata, **data}}


class PerplexityFilter(LambdaFilter):
    name = "perplexity of sluice's scores"

    def __init__(self, most, exclusion_writer=None):
        super().__init__(lambda document: document.metadata.get("perplexity", math.inf) <= most, exclusion_writer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="with exports, *.jsonl or *.jsonl.gz")
    parser.add_argument("kept", help="a folder for the documents that stay")
    parser.add_argument("--most", type=float, required=True, help="the highest perplexity that stays")
    parser.add_argument("--dropped", help="a folder for the others")
    parser.add_argument("--tasks", type=int, default=1)
    arguments = parser.parse_args()
    dropped = JsonlWriter(arguments.dropped, compression=None) if arguments.dropped else None
    LocalPipelineExecutor(
        pipeline=[JsonlReader(arguments.folder, adapter=read_scores), PerplexityFilter(arguments.most, dropped),
                  JsonlWriter(arguments.kept, compression=None)],
        tasks=arguments.tasks, workers=1, logging_dir=None).run()


if __name__ == "__main__":
    main()
