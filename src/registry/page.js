// SPDX-License-Identifier: Apache-2.0
// Repositories, their tags, and what a tag is made of: from the same API that clients use. Text from the registry goes
// into the page as text only.
"use strict";

const TYPES = ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json"];
const PAGE = 100;
const $ = (id) => document.getElementById(id);
let password = null; // "Basic ...", for tokens; gone with the page
let tokens = {};
let shown = 0; // what a late answer is compared with

function size(bytes) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let n = bytes, i = 0;
	for (; n >= 1024 && i < units.length - 1; i++)
		n /= 1024;
	return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

// A token for what a 401 names, from this registry alone: the password goes nowhere else.
async function getToken(challenge) {
	const field = (name) => (challenge.match(new RegExp(`${name}="([^"]*)"`)) || [])[1];
	const realm = new URL(field("realm"), location.href);
	if (realm.origin !== location.origin)
		throw new Error(`sign in at ${realm.origin} is not possible from here`);
	for (const name of ["service", "scope"])
		if (field(name))
			realm.searchParams.set(name, field(name));
	const answer = await fetch(realm, password ? { headers: { Authorization: password }, credentials: "omit" } : {});
	if (!answer.ok) {
		password = null;
		throw new Error("wrong user or password");
	}
	return `Bearer ${(await answer.json()).token}`;
}

async function get(path, accept) {
	const scope = path.split("?")[0].replace(/\/(tags|manifests|blobs)\/.*/, "");
	for (let tries = 0; ; tries++) {
		const headers = accept ? { Accept: accept } : {};
		if (tokens[scope])
			headers.Authorization = tokens[scope];
		const answer = await fetch(path, { headers });
		if (answer.ok)
			return answer;
		const challenge = answer.headers.get("WWW-Authenticate") || "";
		if (answer.status === 401 && challenge.startsWith("Bearer") && tries === 0) {
			tokens[scope] = await getToken(challenge);
			continue;
		}
		if (answer.status === 401)
			$("login").hidden = false;
		const body = await answer.json().catch(() => ({}));
		throw new Error(body.errors ? body.errors[0].message : `status ${answer.status}`);
	}
}

function element(name, text, attributes) {
	const e = document.createElement(name);
	if (text !== undefined)
		e.textContent = text;
	Object.entries(attributes || {}).forEach(([key, value]) => e.setAttribute(key, value));
	return e;
}

function link(text, ...path) {
	return element("a", text, { href: "#" + path.map(encodeURIComponent).join("/") });
}

function addRow(where, cells, cell) {
	const row = element("tr");
	for (const content of cells) {
		const td = element(cell);
		if (content instanceof Node)
			td.append(content);
		else if (typeof content === "number") {
			td.textContent = size(content);
			td.className = "number";
		} else
			td.textContent = content;
		row.append(td);
	}
	where.append(row);
}

function begin(columns, path) {
	$("list").tHead.replaceChildren();
	$("list").tBodies[0].replaceChildren();
	addRow($("list").tHead, columns, "th");
	$("list").hidden = false;
	$("more").hidden = true;
	$("message").textContent = "";
	$("path").replaceChildren(...path.flatMap((p) => ["/ ", p, " "]));
}

const row = (...cells) => addRow($("list").tBodies[0], cells, "td");

// Pages of a list, one more at each press of the button.
async function pages(first, key, each, mine) {
	const answer = await get(first);
	const names = (await answer.json())[key] || [];
	if (mine !== shown)
		return;
	names.forEach(each);
	if (!names.length && !$("list").tBodies[0].rows.length)
		$("message").textContent = "There is nothing here.";
	const next = (answer.headers.get("Link") || "").match(/<([^>]*)>/);
	$("more").hidden = !next;
	$("more").onclick = () => pages(next[1], key, each, mine).catch(fail);
}

function showRepositories(mine) {
	begin(["Repository"], []);
	return pages(`/v2/_catalog?n=${PAGE}`, "repositories", (name) => row(link(name, name)), mine);
}

function showTags(name, mine) {
	begin(["Tag"], [link(name, name)]);
	return pages(`/v2/${name}/tags/list?n=${PAGE}`, "tags", (tag) => row(link(tag, name, tag)), mine);
}

function platform(p) {
	return p ? [p.os, p.architecture, p.variant].filter(Boolean).join("/") : "";
}

async function showManifest(name, reference, mine) {
	const answer = await get(`/v2/${name}/manifests/${reference}`, TYPES.join(", "));
	const digest = answer.headers.get("Docker-Content-Digest");
	const doc = await answer.json();
	if (mine !== shown)
		return;
	const path = [link(name, name), link(reference, name, reference)];
	if (doc.manifests) {
		begin(["Platform", "Digest", "Type", "Size"], path);
		for (const m of doc.manifests)
			row(platform(m.platform), link(m.digest, name, m.digest), m.mediaType || "", m.size);
		$("message").textContent = `${doc.manifests.length} images, ${digest}`;
		return;
	}
	const layers = doc.layers || [];
	begin(["Part", "Digest", "Type", "Size"], path);
	if (doc.config)
		row("config", element("code", doc.config.digest), doc.config.mediaType || "", doc.config.size);
	layers.forEach((l, i) => row(`layer ${i + 1}`, element("code", l.digest), l.mediaType || "", l.size));
	$("message").textContent = `${layers.length} layers, ${size(layers.reduce((sum, l) => sum + l.size, 0))}, ${digest}`;
}

function fail(problem) {
	$("list").hidden = true;
	$("more").hidden = true;
	$("message").textContent = problem.message;
}

function show() {
	const [name, reference] = location.hash.slice(1).split("/").map(decodeURIComponent);
	const mine = ++shown;
	const work = reference ? showManifest(name, reference, mine) : name ? showTags(name, mine) : showRepositories(mine);
	work.catch(fail);
}

$("login").addEventListener("submit", (event) => {
	event.preventDefault();
	const pair = new TextEncoder().encode(`${$("user").value}:${$("password").value}`);
	password = "Basic " + btoa(String.fromCharCode(...pair));
	tokens = {};
	$("password").value = "";
	$("login").hidden = true;
	show();
});
window.addEventListener("hashchange", show);
show();
