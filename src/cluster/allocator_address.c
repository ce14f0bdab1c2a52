/* SPDX-License-Identifier: Apache-2.0 */
/* Subnets, numbers and addresses of the cluster's networks. */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cidr.h"
#include "base/err.h"
#include "base/str.h"
#include "cluster/control_state.h"

#define VNI_FIRST 4096
#define VNI_LAST  0xffffff /* 24 bits */
#define ADDR_MAX  CIDR_TEXT_MAX

/* ---- networks ---- */

/* Subnets that are no longer free: other networks', and those that a machine's address is in. */
static int list_taken(const struct control *c, bool nodes, struct arena *arena, struct cidr **out,
                      size_t *count, struct err *err)
{
	const struct mirror_network *network;
	size_t n = 0;
	struct cidr *list =
		arena_array(arena, c->m.networks.count + c->m.nodes.count + 1, sizeof(*list), err);

	if (!list)
		return -1;
	for (size_t i = 0; (network = mirror_network_at(&c->m, i)) != NULL; i++)
		n += cidr_parse(network->n->subnet, &list[n], NULL) == 0;
	for (size_t i = 0; nodes && i < c->m.nodes.count; i++) {
		list[n].len = 32;
		n += cidr_parse_ip(str_empty(mirror_node_at(&c->m, i)->n->status.addr)
		                           ? ""
		                           : mirror_node_at(&c->m, i)->n->status.addr,
		                   &list[n].base, NULL) == 0;
	}
	*out = list;
	*count = n;
	return 0;
}

static int check_subnet(const struct control *c, const char *text, struct arena *arena,
                        struct cidr *out, struct err *err)
{
	struct cidr *taken;
	size_t count;

	if (cidr_parse(text, out, err) < 0 || list_taken(c, false, arena, &taken, &count, err) < 0)
		return -1;
	if (out->len < 8 || out->len > 29)
		return err_set(err, ERR_INVALID,
		               "invalid subnet %s: its prefix may be from /8 to /29", text);
	for (size_t i = 0; i < count; i++)
		if (cidr_overlaps(out, &taken[i]))
			return err_set(err, ERR_DENIED,
			               "Pool overlaps with other one on this address space: %s is "
			               "used by another network of the cluster",
			               text);
	return 0;
}

static int choose_subnet(const struct control *c, struct arena *arena, struct cidr *out,
                         struct err *err)
{
	/* 10.0.0.0/24 is left to clients that take it for the ingress network's. */
	static const struct cidr_pool pools[] = {
		{.range = {.base = 0x0a000000, .len = 8}, .size = 24}};
	struct cidr *taken;
	size_t count;

	if (list_taken(c, true, arena, &taken, &count, err) < 0)
		return -1;
	taken[count++] = (struct cidr){.base = 0x0a000000, .len = 24};
	return cidr_pick_subnet(pools, 1, taken, count, out, err);
}

static int choose_vni(const struct control *c, int64_t *vni, struct err *err)
{
	const struct mirror_network *network;
	int64_t next = VNI_FIRST;

	for (size_t i = 0; (network = mirror_network_at(&c->m, i)) != NULL; i++)
		if (network->n->vni >= next)
			next = network->n->vni + 1;
	if (next > VNI_LAST)
		return err_set(err, ERR_LIMIT, "no number left for another network");
	*vni = next;
	return 0;
}

int allocator_network(struct control *c, const char *subnet, const char *gateway,
                      struct arena *arena, struct network *n, struct err *err)
{
	char text[CIDR_TEXT_MAX], ip[CIDR_IP_MAX];
	struct cidr range;
	uint32_t own;

	if (str_empty(subnet) && !str_empty(gateway))
		return err_set(err, ERR_INVALID, "a gateway needs a subnet as well");
	if ((str_empty(subnet) ? choose_subnet(c, arena, &range, err)
	                       : check_subnet(c, subnet, arena, &range, err)) < 0)
		return -1;
	own = range.base + 1;
	if (!str_empty(gateway) && cidr_parse_ip(gateway, &own, err) < 0)
		return -1;
	if (!cidr_is_host(&range, own))
		return err_set(err, ERR_INVALID,
		               "the gateway %s is not an address of the subnet %s", gateway,
		               cidr_format(&range, text));
	n->subnet = arena_strdup(arena, cidr_format(&range, text), err);
	n->gateway = arena_strdup(arena, cidr_format_ip(own, ip), err);
	if (!n->subnet || !n->gateway)
		return -1;
	return choose_vni(c, &n->vni, err);
}

/* ---- addresses that are taken ---- */

struct book {
	struct mirror_network *network;
	struct cidr subnet;
	uint32_t *taken; /* owned; ascending */
	size_t count, cap;
};

static size_t place_of(const struct book *book, uint32_t ip)
{
	size_t low = 0, high = book->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (book->taken[middle] < ip)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int take(struct book *book, uint32_t ip, struct err *err)
{
	size_t at = place_of(book, ip);

	if (at < book->count && book->taken[at] == ip)
		return 0;
	if (book->count == book->cap) {
		size_t cap = book->cap ? book->cap * 2 : 64;
		uint32_t *more = reallocarray(book->taken, cap, sizeof(*more));

		if (!more)
			return err_nomem(err);
		book->taken = more;
		book->cap = cap;
	}
	memmove(&book->taken[at + 1], &book->taken[at], (book->count - at) * sizeof(*book->taken));
	book->taken[at] = ip;
	book->count++;
	return 0;
}

/* "10.0.1.7/24" or "10.0.1.7". */
static bool read_address(const char *text, uint32_t *ip)
{
	char bare[CIDR_IP_MAX];
	size_t len = text ? strcspn(text, "/") : 0;

	if (len == 0 || len >= sizeof(bare))
		return false;
	memcpy(bare, text, len);
	bare[len] = '\0';
	return cidr_parse_ip(bare, ip, NULL) == 0;
}

static int take_text(struct book *book, const char *text, struct err *err)
{
	uint32_t ip;

	return read_address(text, &ip) ? take(book, ip, err) : 0;
}

/* Of one that was lost with its node nobody knows whether it ended, so it keeps its address until it is
 * forgotten. */
static bool is_surely_over(const struct task *t)
{
	return task_state_is_final(t->status.state) && t->status.state != TASK_ORPHANED;
}

static const char *address_on(const struct task *t, const char *network_id)
{
	const struct task_network *networks = t->networks.items;

	for (size_t i = 0; i < t->networks.count; i++)
		if (str_eq(networks[i].network.id, network_id) && networks[i].addresses.count > 0)
			return networks[i].addresses.items[0];
	return NULL;
}

bool allocator_holds(const struct task *t, const char *network_id)
{
	return !is_surely_over(t) && address_on(t, network_id) != NULL;
}

static int take_vips(struct book *book, const struct service *s, struct err *err)
{
	const struct service_vip *vips = s->endpoint.virtual_ips.items;

	for (size_t i = 0; i < s->endpoint.virtual_ips.count; i++)
		if (str_eq(vips[i].network_id, book->network->o.id) &&
		    take_text(book, vips[i].addr, err) < 0)
			return -1;
	return 0;
}

static int take_all(struct control *c, struct book *book, struct err *err)
{
	const struct network *n = book->network->n;
	const struct network_attachment *attached = n->attachments.items;
	const struct mirror_service *service;
	const struct mirror_task *task;

	if (take_text(book, n->gateway, err) < 0)
		return -1;
	for (size_t i = 0; i < n->attachments.count; i++)
		if (take_text(book, attached[i].address, err) < 0)
			return -1;
	for (size_t i = 0; (service = mirror_service_at(&c->m, i)) != NULL; i++)
		if (take_vips(book, service->s, err) < 0)
			return -1;
	for (size_t i = 0; (task = mirror_task_at(&c->m, i)) != NULL; i++)
		if (!is_surely_over(task->t) &&
		    take_text(book, address_on(task->t, n->id), err) < 0)
			return -1;
	return 0;
}

static uint32_t first_free(const struct book *book, uint32_t from, uint32_t to)
{
	size_t at = place_of(book, from);

	for (uint32_t ip = from; ip <= to; ip++, at++)
		if (at == book->count || book->taken[at] != ip)
			return ip;
	return 0;
}

/* The next after the one that was given last, so that a freed address rests: somebody may still know it. */
static int pick(struct book *book, uint32_t *ip, struct err *err)
{
	uint32_t first = book->subnet.base + 1, last = cidr_last(&book->subnet) - 1;
	uint32_t from = book->network->last;

	*ip = from >= first && from < last ? first_free(book, from + 1, last) : 0;
	if (*ip == 0)
		*ip = first_free(book, first, last);
	if (*ip == 0)
		return err_set(err, ERR_LIMIT, "no free address on network %s (%s)",
		               book->network->n->spec.name, book->network->n->subnet);
	book->network->last = *ip;
	return take(book, *ip, err);
}

static int take_wanted(struct book *book, const char *wanted, uint32_t *ip, struct err *err)
{
	const struct network *n = book->network->n;

	if (cidr_parse_ip(wanted, ip, err) < 0)
		return -1;
	if (!cidr_is_host(&book->subnet, *ip))
		return err_set(err, ERR_INVALID,
		               "address %s is not one of the subnet %s of network %s", wanted,
		               n->subnet, n->spec.name);
	size_t at = place_of(book, *ip);
	if (at < book->count && book->taken[at] == *ip)
		return err_set(err, ERR_DENIED, "Address already in use: %s", wanted);
	return take(book, *ip, err);
}

/* ---- several books ---- */

struct books {
	struct control *c;
	struct book *items; /* owned */
	size_t count;
};

static void books_done(struct books *books)
{
	for (size_t i = 0; i < books->count; i++)
		free(books->items[i].taken);
	free(books->items);
}

#define auto_books __attribute__((cleanup(books_done)))

static struct book *book_of(struct books *books, struct mirror_network *network, struct err *err)
{
	for (size_t i = 0; i < books->count; i++)
		if (books->items[i].network == network)
			return &books->items[i];
	struct book *more = reallocarray(books->items, books->count + 1, sizeof(*more));
	if (!more) {
		err_nomem(err);
		return NULL;
	}
	books->items = more;
	struct book *book = &more[books->count++];
	*book = (struct book){.network = network};
	if (cidr_parse(network->n->subnet, &book->subnet, err) < 0 ||
	    take_all(books->c, book, err) < 0)
		return NULL;
	return book;
}

static char *write_address(const struct book *book, uint32_t ip, struct arena *arena,
                           struct err *err)
{
	char text[CIDR_IP_MAX];

	return arena_printf(arena, err, "%s/%d", cidr_format_ip(ip, text), book->subnet.len);
}

static const struct json_array *networks_of(const struct service_spec *spec)
{
	return spec->task.networks.count > 0 ? &spec->task.networks : &spec->networks;
}

int allocator_give(struct control *c, struct mirror_network *network, const char *wanted,
                   struct arena *arena, char **address, struct err *err)
{
	auto_books struct books books = {.c = c};
	struct book *book = book_of(&books, network, err);
	char text[CIDR_IP_MAX];
	uint32_t ip;

	if (!book ||
	    (str_empty(wanted) ? pick(book, &ip, err) : take_wanted(book, wanted, &ip, err)) < 0)
		return -1;
	*address = arena_strdup(arena, cidr_format_ip(ip, text), err);
	return *address ? 0 : -1;
}

/* ---- services ---- */

static const char *former_vip(const struct mirror_service *service, const char *network_id)
{
	const struct service_vip *vips = service ? service->s->endpoint.virtual_ips.items : NULL;

	for (size_t i = 0; service && i < service->s->endpoint.virtual_ips.count; i++)
		if (str_eq(vips[i].network_id, network_id))
			return vips[i].addr;
	return NULL;
}

int allocator_vips(struct control *c, const char *own_id, const struct service_spec *spec,
                   struct arena *arena, struct service_endpoint *endpoint, struct err *err)
{
	const struct json_array *wanted = networks_of(spec);
	const struct mirror_service *service = mirror_find_service(&c->m, own_id);
	struct service_vip *vips = arena_array(arena, wanted->count + 1, sizeof(*vips), err);
	auto_books struct books books = {.c = c};
	size_t count = 0;

	if (!vips)
		return -1;
	for (size_t i = 0; i < wanted->count && !str_eq(spec->endpoint.mode, "dnsrr"); i++) {
		struct mirror_network *network =
			network_by_ref(c, ((struct service_network *)wanted->items)[i].target);
		uint32_t ip;

		if (!network)
			continue;
		vips[count].network_id = network->n->id;
		vips[count].addr = (char *)former_vip(service, network->n->id);
		if (!vips[count].addr) {
			struct book *book = book_of(&books, network, err);

			if (!book || pick(book, &ip, err) < 0)
				return -1;
			vips[count].addr = write_address(book, ip, arena, err);
		}
		if (!vips[count++].addr)
			return -1;
	}
	endpoint->virtual_ips =
		(struct json_array){.items = vips, .count = count, .present = count > 0};
	return 0;
}

/* ---- tasks ---- */

bool allocator_wants(const struct control *c, const struct service_task *spec)
{
	const struct service_network *wanted = spec->networks.items;

	for (size_t i = 0; i < spec->networks.count; i++)
		if (network_by_ref(c, wanted[i].target))
			return true;
	return false;
}

struct network allocator_cut(const struct network *n)
{
	struct network out = *n;

	out.spec.labels = (struct json_strmap){0};
	out.attachments = (struct json_array){0};
	return out;
}

static int give(struct books *books, struct mirror_network *network, struct arena *arena,
                struct task_network *out, struct err *err)
{
	struct book *book = book_of(books, network, err);
	char **list = arena_array(arena, 2, sizeof(*list), err);
	uint32_t ip;

	if (!book || !list || pick(book, &ip, err) < 0)
		return -1;
	list[0] = write_address(book, ip, arena, err);
	*out = (struct task_network){
		.network = allocator_cut(network->n),
		.addresses = {.items = list, .count = 1, .present = true},
	};
	return list[0] ? 0 : -1;
}

/* All or none: one without an address on one of its networks waits. */
static int allocate(struct books *books, struct mirror_task *task, struct err *err)
{
	auto_arena struct arena arena = ARENA_INIT(MODEL_ARENA_MAX);
	const struct service_network *wanted = task->t->spec.networks.items;
	size_t most = task->t->spec.networks.count, count = 0;
	struct task_network *networks = arena_array(&arena, most + 1, sizeof(*networks), err);
	struct err why = ERR_INIT;

	if (!networks)
		return -1;
	for (size_t i = 0; i < most; i++) {
		struct mirror_network *network = network_by_ref(books->c, wanted[i].target);

		if (!network)
			continue;
		if (give(books, network, &arena, &networks[count++], &why) == 0)
			continue;
		if (why.kind == ERR_LIMIT)
			return mirror_set_error(&books->c->m, task, "waiting for an address",
			                        why.msg, err);
		if (err)
			*err = why;
		return -1;
	}
	if (mirror_set_networks(&books->c->m, task, networks, count, err) < 0)
		return -1;
	return mirror_set_error(&books->c->m, task, "pending task scheduling", NULL, err);
}

int allocator_run(struct control *c, struct err *err)
{
	auto_books struct books books = {.c = c};
	const struct mirror_service *service;
	struct mirror_task *task;

	for (size_t i = 0; c->schedule && (service = mirror_service_at(&c->m, i)) != NULL; i++) {
		if (service->waiting == 0)
			continue;
		TAILQ_FOREACH(task, &service->tasks, of_service)
		if (task->waiting && task->t->status.state == TASK_NEW &&
		    allocate(&books, task, err) < 0)
			return -1;
	}
	return 0;
}
