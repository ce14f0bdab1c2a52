/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* address - the spellings in which people give a cluster address. */

#include <stddef.h>
#include <stdint.h>

struct err;

#define ADDRESS_MAX 96 /* bytes of "IP:PORT", NUL included */

/* "IP", "IP:PORT", "[v6]:PORT", ":PORT" -> "IP:PORT". `any` replaces a missing IP ("0.0.0.0"), port a
 * missing port. ERR_INVALID names the text. */
int address_complete(const char *text, const char *any, uint16_t port, char out[ADDRESS_MAX],
                     struct err *err);
/* The IP of it, without brackets. */
int address_host(const char *address, char out[ADDRESS_MAX], struct err *err);
uint16_t address_port(const char *address);

/* The address of an interface, or with NULL of the first one that is up and not the loopback. */
int address_of_interface(const char *name, char ip[ADDRESS_MAX], struct err *err);
