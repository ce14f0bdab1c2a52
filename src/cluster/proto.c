/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/proto.h"

#include "base/err.h"

#define OMIT .empty = JSON_EMPTY_OMIT

static const struct json_field status_fields[] = {
	JSON_FIELD(struct proto_status, task_id, "TaskID", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_status, status, "Status", JSON_OBJECT, .table = &task_status_table,
                   .required = true),
	JSON_END,
};
static const struct json_table status_table = JSON_TABLE(struct proto_status, status_fields);

static const struct json_field hello_fields[] = {
	JSON_FIELD(struct proto_hello, protocol, "Protocol", JSON_INT, .required = true),
	JSON_FIELD(struct proto_hello, node_id, "NodeID", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_hello, epoch, "Epoch", JSON_INT),
	JSON_FIELD(struct proto_hello, addr, "Addr", JSON_STRING, OMIT),
	JSON_FIELD(struct proto_hello, description, "Description", JSON_OBJECT,
                   .table = &node_description_table),
	JSON_FIELD(struct proto_hello, statuses, "Statuses", JSON_OBJECTS, .table = &status_table,
                   OMIT),
	JSON_END,
};
const struct json_table proto_hello_table = JSON_TABLE(struct proto_hello, hello_fields);

static const struct json_field report_fields[] = {
	JSON_FIELD(struct proto_report, protocol, "Protocol", JSON_INT, .required = true),
	JSON_FIELD(struct proto_report, node_id, "NodeID", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_report, epoch, "Epoch", JSON_INT, .required = true),
	JSON_FIELD(struct proto_report, session, "Session", JSON_INT, .required = true),
	JSON_FIELD(struct proto_report, sequence, "Sequence", JSON_INT, .required = true),
	JSON_FIELD(struct proto_report, applied, "Applied", JSON_INT),
	JSON_FIELD(struct proto_report, statuses, "Statuses", JSON_OBJECTS, .table = &status_table,
                   OMIT),
	JSON_END,
};
const struct json_table proto_report_table = JSON_TABLE(struct proto_report, report_fields);

static const struct json_field assignments_fields[] = {
	JSON_FIELD(struct proto_assignments, type, "Type", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_assignments, epoch, "Epoch", JSON_INT, .required = true),
	JSON_FIELD(struct proto_assignments, session, "Session", JSON_INT, .required = true),
	JSON_FIELD(struct proto_assignments, from, "From", JSON_INT, OMIT),
	JSON_FIELD(struct proto_assignments, to, "To", JSON_INT, .required = true),
	JSON_FIELD(struct proto_assignments, heartbeat_ms, "HeartbeatMS", JSON_INT, OMIT),
	JSON_FIELD(struct proto_assignments, empty, "Empty", JSON_BOOL, OMIT),
	JSON_FIELD(struct proto_assignments, tasks, "Tasks", JSON_OBJECTS, .table = &task_table,
                   OMIT),
	JSON_FIELD(struct proto_assignments, removed, "Removed", JSON_STRINGS, OMIT),
	JSON_END,
};
const struct json_table proto_assignments_table =
	JSON_TABLE(struct proto_assignments, assignments_fields);

static const struct json_field reply_fields[] = {
	JSON_FIELD(struct proto_reply, epoch, "Epoch", JSON_INT),
	JSON_FIELD(struct proto_reply, session, "Session", JSON_INT),
	JSON_FIELD(struct proto_reply, acknowledged, "Acknowledged", JSON_INT),
	JSON_FIELD(struct proto_reply, resync, "Resync", JSON_BOOL, OMIT),
	JSON_END,
};
const struct json_table proto_reply_table = JSON_TABLE(struct proto_reply, reply_fields);

static const struct json_field backend_fields[] = {
	JSON_FIELD(struct proto_backend, task_id, "TaskID", JSON_STRING),
	JSON_FIELD(struct proto_backend, node_id, "NodeID", JSON_STRING),
	JSON_FIELD(struct proto_backend, address, "Address", JSON_STRING),
	JSON_FIELD(struct proto_backend, ports, "Ports", JSON_OBJECTS, .table = &model_port_table,
                   OMIT),
	JSON_END,
};
static const struct json_table backend_table = JSON_TABLE(struct proto_backend, backend_fields);

static const struct json_field service_fields[] = {
	JSON_FIELD(struct proto_service, id, "ID", JSON_STRING),
	JSON_FIELD(struct proto_service, name, "Name", JSON_STRING),
	JSON_FIELD(struct proto_service, ports, "Ports", JSON_OBJECTS, .table = &model_port_table,
                   OMIT),
	JSON_FIELD(struct proto_service, backends, "Backends", JSON_OBJECTS,
                   .table = &backend_table, OMIT),
	JSON_END,
};
static const struct json_table service_entry_table =
	JSON_TABLE(struct proto_service, service_fields);

static const struct json_field member_fields[] = {
	JSON_FIELD(struct proto_member, address, "Address", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_member, node_id, "NodeID", JSON_STRING),
	JSON_FIELD(struct proto_member, node_address, "NodeAddress", JSON_STRING),
	JSON_FIELD(struct proto_member, names, "Names", JSON_STRINGS, OMIT),
	JSON_FIELD(struct proto_member, attachment, "Attachment", JSON_STRING, OMIT),
	JSON_END,
};
static const struct json_table member_table = JSON_TABLE(struct proto_member, member_fields);

static const struct json_field group_fields[] = {
	JSON_FIELD(struct proto_group, names, "Names", JSON_STRINGS),
	JSON_FIELD(struct proto_group, tasks, "Tasks", JSON_STRING),
	JSON_FIELD(struct proto_group, address, "Address", JSON_STRING, OMIT),
	JSON_FIELD(struct proto_group, backends, "Backends", JSON_STRINGS, OMIT),
	JSON_END,
};
static const struct json_table group_table = JSON_TABLE(struct proto_group, group_fields);

static const struct json_field network_entry_fields[] = {
	JSON_FIELD(struct proto_network, network, "Network", JSON_OBJECT, .table = &network_table,
                   .required = true),
	JSON_FIELD(struct proto_network, members, "Members", JSON_OBJECTS, .table = &member_table,
                   OMIT),
	JSON_FIELD(struct proto_network, groups, "Groups", JSON_OBJECTS, .table = &group_table,
                   OMIT),
	JSON_END,
};
static const struct json_table network_entry_table =
	JSON_TABLE(struct proto_network, network_entry_fields);

static const struct json_field endpoints_fields[] = {
	JSON_FIELD(struct proto_endpoints, type, "Type", JSON_STRING, .required = true),
	JSON_FIELD(struct proto_endpoints, epoch, "Epoch", JSON_INT, .required = true),
	JSON_FIELD(struct proto_endpoints, version, "Version", JSON_INT, .required = true),
	JSON_FIELD(struct proto_endpoints, services, "Services", JSON_OBJECTS,
                   .table = &service_entry_table, OMIT),
	JSON_FIELD(struct proto_endpoints, networks, "Networks", JSON_OBJECTS,
                   .table = &network_entry_table, OMIT),
	JSON_END,
};
const struct json_table proto_endpoints_table =
	JSON_TABLE(struct proto_endpoints, endpoints_fields);

static int check_size(size_t len, struct err *err)
{
	if (len > PROTO_TEXT_MAX)
		return err_set(err, ERR_LIMIT, "message of %zu bytes: at most %u are allowed", len,
		               PROTO_TEXT_MAX);
	return 0;
}

static int check_protocol(int64_t protocol, struct err *err)
{
	if (protocol != PROTO_VERSION)
		return err_set(err, ERR_UNSUPPORTED,
		               "the node speaks cluster protocol %lld, this one speaks %d",
		               (long long)protocol, PROTO_VERSION);
	return 0;
}

static int finish_statuses(struct json_array *statuses, struct err *err)
{
	struct proto_status *items = statuses->items;

	if (statuses->count > PROTO_STATUSES_MAX)
		return err_set(err, ERR_LIMIT,
		               "%zu statuses in one message: at most %d are allowed",
		               statuses->count, PROTO_STATUSES_MAX);
	for (size_t i = 0; i < statuses->count; i++) {
		struct task_status *status = &items[i].status;

		if (task_state_parse(status->state_name, &status->state, err) < 0)
			return err_wrap(err, "task %s", items[i].task_id);
	}
	return 0;
}

int proto_hello_decode(const char *text, size_t len, struct arena *arena, struct proto_hello *out,
                       struct err *err)
{
	struct proto_hello hello = {0};

	if (check_size(len, err) < 0 ||
	    json_decode_text(text, len, &proto_hello_table, arena, &hello, err) < 0 ||
	    check_protocol(hello.protocol, err) < 0 || finish_statuses(&hello.statuses, err) < 0)
		return -1;
	*out = hello;
	return 0;
}

int proto_report_decode(const char *text, size_t len, struct arena *arena, struct proto_report *out,
                        struct err *err)
{
	struct proto_report report = {0};

	if (check_size(len, err) < 0 ||
	    json_decode_text(text, len, &proto_report_table, arena, &report, err) < 0 ||
	    check_protocol(report.protocol, err) < 0 || finish_statuses(&report.statuses, err) < 0)
		return -1;
	*out = report;
	return 0;
}

static int finish_task(struct task *t, struct arena *arena, struct err *err)
{
	if (task_state_parse(t->status.state_name, &t->status.state, err) < 0 ||
	    task_state_parse(t->desired_name, &t->desired, err) < 0)
		return -1;
	return service_task_decode(t->spec_raw, arena, &t->spec, err);
}

int proto_assignments_decode(const char *text, size_t len, struct arena *arena,
                             struct proto_assignments *out, struct err *err)
{
	struct proto_assignments set = {0};

	if (check_size(len, err) < 0 ||
	    json_decode_text(text, len, &proto_assignments_table, arena, &set, err) < 0)
		return -1;
	struct task *tasks = set.tasks.items;
	for (size_t i = 0; i < set.tasks.count; i++)
		if (finish_task(&tasks[i], arena, err) < 0)
			return err_wrap(err, "task %s", tasks[i].id);
	*out = set;
	return 0;
}
