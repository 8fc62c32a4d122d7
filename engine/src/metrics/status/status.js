"use strict";

// Asks for status.json again and again, and shows it. Texts are set as text, never as HTML.

const EVERY_MS = 2000;
const POINTS = 60;
const PHASES = ["decrypted", "bypassed", "blocked", "peeking", "opening"];
// Keeps a number and its unit in one line.
const SPACE = "\u00a0";
const ROWS = 8;

const history = [];
let before = null;

const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(value) {
  if (!(value >= 1000)) return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
  const units = ["k", "M", "G", "T", "P"];
  let unit = -1;
  do { value /= 1000; unit += 1; } while (value >= 999.5 && unit < units.length - 1);
  return `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)}${SPACE}${units[unit]}`;
}

const bytes = (value) => (value >= 1000 ? `${short(value)}B` : `${value}${SPACE}B`);
const percent = (share) => (share > 0 && share < 0.001 ? `<${SPACE}0.1${SPACE}%` : `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)}${SPACE}%`);
const sum = (map) => Object.values(map).reduce((all, one) => all + one, 0);

function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)}${SPACE}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${SPACE}min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}${SPACE}h${SPACE}${Math.floor(seconds / 60) % 60}${SPACE}min`;
  return `${Math.floor(seconds / 86400)}${SPACE}days`;
}

function millis(micros) {
  if (micros === Infinity) return "> 10 s";
  return micros < 1000 ? `≤ ${micros} µs` : micros < 1e6 ? `≤ ${micros / 1000} ms` : `≤ ${micros / 1e6} s`;
}

// The bound below which this share of the observations is.
function quantile(handshakes, share) {
  const wanted = share * handshakes.counts.reduce((all, one) => all + one, 0);
  if (wanted === 0) return "–";
  let below = 0;
  const place = handshakes.counts.findIndex((count) => (below += count) >= wanted);
  return millis(place < handshakes.bounds_us.length ? handshakes.bounds_us[place] : Infinity);
}

function bar(barId, keyId, parts, show) {
  const all = parts.reduce((total, [, , value]) => total + value, 0);
  const drawn = parts.filter(([, , value]) => value > 0).map(([className, , value]) => {
    const piece = element("span", className);
    piece.style.flexGrow = value / all;
    return piece;
  });
  at(barId).replaceChildren(...drawn);
  at(keyId).replaceChildren(...parts.map(([className, name, value]) => {
    const item = element("li");
    item.append(element("i", className), `${name} `, element("b", "", show(value, all)));
    return item;
  }));
}

function table(id, rows, empty) {
  const made = rows.slice(0, ROWS).map(([name, count, rate, tag]) => {
    const row = element("tr");
    const first = element("td");
    if (tag) first.append(element("span", `tag ${tag}`));
    first.append(name);
    row.append(first, element("td", "count", typeof count === "number" ? short(count) : count), element("td", "rate", rate));
    return row;
  });
  if (!made.length) {
    const row = element("tr");
    row.append(element("td", "nothing", empty));
    made.push(row);
  } else if (rows.length > ROWS) {
    const row = element("tr");
    row.append(element("td", "nothing", `and ${rows.length - ROWS} more`), element("td"), element("td"));
    made.push(row);
  }
  at(id).tBodies[0].replaceChildren(...made);
}

const perSecond = (now, then, seconds) => (then === undefined || !seconds ? "" : now > then ? `${short((now - then) / seconds)} /s` : "");

function reasons(id, map, old, seconds, empty) {
  const rows = Object.entries(map).sort((a, b) => b[1] - a[1]);
  table(id, rows.map(([name, count]) => [name, count, perSecond(count, old ? old[name] || 0 : undefined, seconds)]), empty);
}

function pairs(id, list) {
  at(id).replaceChildren(...list.flatMap(([name, value, bad]) => [element("dt", "", name), element("dd", bad ? "bad" : "", value)]));
}

function spark(values) {
  const svg = at("spark");
  const most = Math.max(...values, 1);
  const step = 240 / (POINTS - 1);
  const from = 240 - step * (values.length - 1);
  const points = values.map((value, n) => `${(from + n * step).toFixed(1)},${(42 - 40 * value / most).toFixed(1)}`);
  const path = (className, d) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
    made.setAttribute("class", className);
    made.setAttribute("d", d);
    return made;
  };
  const drawn = values.length < 2 ? [] : [path("area", `M${from.toFixed(1)},44L${points.join("L")}L240,44Z`), path("", `M${points.join("L")}`)];
  svg.replaceChildren(...drawn);
}

function throughput(now, then, seconds) {
  const total = (status, side) => status.wires.reduce((all, wire) => all + wire[side].bytes, 0);
  if (!then || !seconds) return;
  const [up, down] = ["from_inside", "from_outside"].map((side) => 8 * (total(now, side) - total(then, side)) / seconds);
  const [value, unit] = short(up + down).split(SPACE);
  say("throughput", value);
  say("throughput-unit", `${unit || ""}bit/s`);
  const bits = (rate) => (rate >= 1000 ? `${short(rate)}bit/s` : `${short(rate)}${SPACE}bit/s`);
  pairs("directions", [["From clients", bits(up)], ["From servers", bits(down)]]);
  history.push(up + down);
  if (history.length > POINTS) history.shift();
  spark(history);
}

function share(now) {
  const { decrypt, bypass, block, none } = now.connection_bytes;
  const seen = now.wires.reduce((all, wire) => all + wire.from_inside.bytes + wire.from_outside.bytes, 0);
  const flows = decrypt + bypass + block + none;
  const other = Math.max(seen - flows, 0);
  say("share", flows + other ? percent(decrypt / (flows + other)) : "–");
  const parts = [["decrypt", "decrypted", decrypt], ["bypass", "bypassed", bypass], ["block", "blocked", block],
    ["none", "undecided", none], ["other", "no flow", other]];
  bar("share-bar", "share-key", parts, (value, all) => (all ? percent(value / all) : "–"));
}

function certificates(now) {
  return Object.entries(now.certificates).map(([name, end]) => {
    const left = end - now.now;
    return [`CA, ${name}`, left > 0 ? `${duration(left)} left` : "expired", left < 30 * 86400];
  });
}

function engine(now) {
  const { memory, log, generation } = now;
  const held = memory.flow_bytes_limit ? ` of ${bytes(memory.flow_bytes_limit)}` : "";
  pairs("engine", [
    ["Settings in force", `generation ${generation.number}`],
    ["Since they were loaded", duration(generation.age_s)],
    ...(generation.failed ? [["Reloads failed", String(generation.failed), true]] : []),
    ...(generation.older ? [["Older settings in use", String(generation.older)]] : []),
    ...certificates(now),
    ["Servers not decrypted", String(now.exclusions)],
    ["Memory of flows", bytes(memory.flow_bytes) + held],
    ...(memory.resident_bytes === null ? [] : [["Memory of the process", bytes(memory.resident_bytes)]]),
    ...(memory.buffers ? [["Frame buffers", `${short(memory.buffers_in_use)} of ${short(memory.buffers)}`]] : []),
    ["Log lines", short(log.written)],
    ...(log.dropped + log.lost ? [["Log lines lost", short(log.dropped + log.lost), true]] : []),
  ]);
}

function show(now) {
  const seconds = before ? (now.uptime_us - before.uptime_us) / 1e6 : 0;
  // An engine that was started anew counts from zero.
  const then = seconds > 0 ? before : null;
  if (before && !then) history.length = 0;
  before = now;
  const good = now.health === "ok";
  say("health", good ? "running" : now.health);
  at("health").className = `health ${good ? "good" : "bad"}`;
  say("about", `${now.version} · up ${duration(now.uptime_us / 1e6)}`);
  at("notice").hidden = !now.orders.length;
  say("notice", `An order stands over policy: ${now.orders.join(", ")}.`);
  throughput(now, then, seconds);
  share(now);
  say("flows", short(sum(now.flows)));
  say("flows-limit", now.flows_limit ? `of ${short(now.flows_limit)}` : "");
  bar("phase-bar", "phase-key", PHASES.map((name) => [name, name, now.flows[name] || 0]), short);
  const { done, failed, queue } = now.handshakes;
  say("handshakes", then ? short((done - then.handshakes.done) / seconds) : "–");
  pairs("handshake-pairs", [["Half of them take", quantile(now.handshakes, 0.5)], ["95 of 100", quantile(now.handshakes, 0.95)],
    ["Done", short(done)], ["Failed", short(failed)], ["Waiting", String(queue)]]);
  const old = new Map((then ? then.rules : []).map((rule) => [`${rule.action} ${rule.name}`, rule.count]));
  table("rules", now.rules.map(({ name, action, count }) =>
    [name || "default", count, perSecond(count, old.get(`${action} ${name}`), seconds), action]), "No rule has decided yet.");
  reasons("hellos", now.hellos, then && then.hellos, seconds, "None yet.");
  reasons("ended", now.ended, then && then.ended, seconds, "None yet.");
  reasons("dropped", now.dropped, then && then.dropped, seconds, "None.");
  table("wires", now.wires.flatMap(({ name, from_inside, from_outside }) => [
    [`${name}, from clients`, bytes(from_inside.bytes), `${short(from_inside.packets)} frames`],
    [`${name}, from servers`, bytes(from_outside.bytes), `${short(from_outside.packets)} frames`],
  ]), "None.");
  engine(now);
  document.body.dataset.shown = String(now.uptime_us);
}

async function ask() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    show(await answer.json());
  } catch {
    say("health", "the engine does not answer");
    at("health").className = "health bad";
  }
  setTimeout(ask, document.hidden ? 5 * EVERY_MS : EVERY_MS);
}

ask();
