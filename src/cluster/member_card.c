/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a member's directory. */

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/json.h"
#include "cluster/member_state.h"

#define CARD     "member.json"
#define FILE_MAX (64u << 10)

static const struct json_field card_fields[] = {
	JSON_FIELD(struct card, node_id, "NodeID", JSON_STRING, .required = true),
	JSON_FIELD(struct card, cluster_id, "ClusterID", JSON_STRING, .required = true),
	JSON_FIELD(struct card, manager, "Manager", JSON_BOOL),
	JSON_FIELD(struct card, listen, "Listen", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, addr, "Addr", JSON_STRING, .required = true),
	JSON_FIELD(struct card, fixed, "AddrFixed", JSON_BOOL),
	JSON_FIELD(struct card, leader, "Leader", JSON_STRING, .required = true),
	JSON_FIELD(struct card, leader_id, "LeaderID", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, store, "Store", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, store_ca, "StoreCA", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, store_cert, "StoreCert", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, store_key, "StoreKey", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_FIELD(struct card, etcd_cluster, "EtcdCluster", JSON_STRING, .empty = JSON_EMPTY_OMIT),
	JSON_END,
};
static const struct json_table card_table = JSON_TABLE(struct card, card_fields);

static char *read_text(int dir_fd, const char *name, struct arena *arena, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (fs_read(dir_fd, name, FILE_MAX, &text, err) < 0)
		return NULL;
	return arena_strdup(arena, buf_str(&text), err);
}

int member_write_text(int dir_fd, const char *name, const char *text, struct err *err)
{
	return fs_write_durable(dir_fd, name, text, strlen(text), 0600, err);
}

int member_write_card(int dir_fd, const struct card *card, struct err *err)
{
	auto_buf struct buf text = BUF_INIT(FILE_MAX);

	if (json_encode_text(&card_table, card, &text, err) < 0)
		return -1;
	return member_write_text(dir_fd, CARD, buf_str(&text), err);
}

int member_read_all(struct member *m, struct err *err)
{
	const char *text = read_text(m->dir_fd, CARD, &m->arena, err);

	if (!text ||
	    json_decode_text(text, strlen(text), &card_table, &m->arena, &m->card, err) < 0)
		return err_wrap(err, CARD);
	m->ca = read_text(m->dir_fd, "ca.pem", &m->arena, err);
	m->cert = read_text(m->dir_fd, "cert.pem", &m->arena, err);
	m->key = read_text(m->dir_fd, "key.pem", &m->arena, err);
	return m->ca && m->cert && m->key ? 0 : -1;
}
