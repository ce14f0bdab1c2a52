/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* curl_lazy - libcurl, loaded when the first client is made; see curl_lazy.c. */

#include <stdbool.h>

/* Loads it, once. False: it is not installed. From any thread. */
bool curl_lazy_load(void);
