/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/names.h"

#include <stdint.h>
#include <stdio.h>

#include "base/id.h"
#include "base/str.h"

static const char *const first[] = {
	"able",   "agile",  "amber",  "ample",  "azure",   "bold",   "brave",  "breezy", "bright",
	"brisk",  "bronze", "calm",   "candid", "clear",   "clever", "coral",  "cosy",   "crisp",
	"daring", "deep",   "eager",  "early",  "easy",    "fair",   "fleet",  "fond",   "fresh",
	"gentle", "glad",   "golden", "grand",  "happy",   "hardy",  "hearty", "honest", "humble",
	"jolly",  "keen",   "kind",   "lively", "loyal",   "lucky",  "mellow", "merry",  "mighty",
	"modest", "neat",   "nimble", "noble",  "patient", "plucky", "polar",  "proud",  "quick",
	"quiet",  "rapid",  "salty",  "serene", "sharp",   "silver", "snug",   "solid",  "spry",
	"steady", "sturdy", "sunny",  "swift",  "tidy",    "trusty", "vivid",  "warm",   "wise",
};
static const char *const second[] = {
	"albatross", "anchor",  "barge",    "bay",      "beacon",  "bell",   "bollard", "bosun",
	"breeze",    "brig",    "cabin",    "capstan",  "channel", "chart",  "clipper", "compass",
	"coral",     "cove",    "crab",     "current",  "cutter",  "deck",   "delta",   "dinghy",
	"dock",      "dolphin", "ferry",    "fjord",    "galley",  "gannet", "gull",    "harbour",
	"haven",     "heron",   "island",   "jetty",    "ketch",   "lagoon", "lantern", "lugger",
	"marlin",    "mast",    "mooring",  "narwhal",  "oar",     "orca",   "osprey",  "otter",
	"pelican",   "pier",    "pilot",    "porpoise", "puffin",  "quay",   "reef",    "rigger",
	"rudder",    "sail",    "schooner", "seal",     "sextant", "shoal",  "skiff",   "sloop",
	"sound",     "strait",  "tern",     "tide",     "tiller",  "turtle", "wave",    "whale",
	"wharf",     "winch",   "yacht",    "yawl",
};

char *names_make(char name[NAMES_MAX], int attempt)
{
	uint32_t r[3];
	uint32_t digits = attempt < 8 ? 10 : attempt < 16 ? 1000 : 1000000;

	id_random(r, sizeof(r));
	const char *a = first[r[0] % ARRAY_LEN(first)], *b = second[r[1] % ARRAY_LEN(second)];
	if (attempt == 0)
		snprintf(name, NAMES_MAX, "%s_%s", a, b);
	else
		snprintf(name, NAMES_MAX, "%s_%s%u", a, b, r[2] % digits);
	return name;
}
