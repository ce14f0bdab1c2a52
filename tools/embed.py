#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py INPUT OUTPUT NAME: a text as a C string constant; of JSON without its white space."""
import json
import sys

source, target, name = sys.argv[1:]
with open(source, encoding="utf-8") as f:
    text = json.dumps(json.load(f), separators=(",", ":")) if source.endswith(".json") else f.read()
quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
lines = [quoted[i:i + 80] for i in range(0, len(quoted), 80)]
for i in range(len(lines) - 1):  # no escape may be cut in two
    while lines[i].endswith("\\"):
        lines[i + 1] = "\\" + lines[i + 1]
        lines[i] = lines[i][:-1]
with open(target, "w", encoding="utf-8") as f:
    f.write("/* Made by tools/embed.py; change what it was made from. */\n")
    f.write(f"static const char {name}[] =\n")
    f.write("\n".join(f'\t"{line}"' for line in lines) + ";\n")
