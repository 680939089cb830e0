/* SPDX-License-Identifier: Apache-2.0 */
/* Stands before the program's sources where a test calls their main, which is sluice_main there. */
int main(int argc, char **argv);
