/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/dns_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Oracle: a question that was understood can be answered, and the answer is one to it: the same id, the
 * answer bit, within the limit. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t ips[] = {0x0a000001, 0x0a000002};
	struct dns_answer answer = {.ips = ips, .count = 2};
	struct dns_question question;
	uint8_t out[DNS_UDP_MAX];
	uint32_t ip;
	int len;

	if (dns_question_parse(data, size, &question, NULL) < 0)
		return 0;
	(void)dns_parse_reverse(question.name, &ip);
	len = dns_answer_write(data, size, &answer, out, question.udp_max, NULL);
	if (len < 12 || (size_t)len > question.udp_max || memcmp(out, data, 2) != 0 ||
	    !(out[2] & 0x80))
		abort();
	return 0;
}
