"use strict";
// The questions of a page, drawn out of its data as one scrolls: filters with counts, search, order, keys, and images shown large.
const data = JSON.parse(document.getElementById("data").textContent), $ = id => document.getElementById(id);
const CHUNK = 5, FAR = "1200px", PRINTED = 100, CELLS = ["TA", "TU", "FA", "FU", "none"];
const ALL = { cell: "", outcome: "", note: "", words: "", sort: "run" };

function make(tag, name, text, more) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return Object.assign(node, more);
}

// ---- rows: a question with all that it is filtered by

function rowsOf(run) {
  const rows = [];
  for (const card of run.cards) for (const side of card.sides) for (const q of side.questions) {
    const notes = new Set(q.notes || []);
    rows.push({ card, side, q, cell: q.cell || "none", outcome: q.outcome, notes, p: q.p,
      text: [q.question, ...(q.options || []), q.reply || q.error || "", card.id].join("\n").normalize("NFC").toLowerCase() });
  }
  return rows;
}
const runs = data.runs.map(run => ({ ...run, rows: rowsOf(run) }));
let state = { ...ALL, run: 0 }, items = [], at = -1;

const words = () => (state.words.normalize("NFC").toLowerCase().match(/"[^"]+"?|[^\s"]+/g) || []).map(word => word.replaceAll('"', ""));      // "in one piece"
const filtered = () => state.cell || state.outcome || state.note || words().length;

function choose() {      // the rows that match, and of each choice how many would
  const asked = words(), counts = { cell: {}, outcome: {}, note: {} }, found = [];
  const add = (kind, name) => counts[kind][name] = (counts[kind][name] || 0) + 1;
  for (const row of runs[state.run].rows) {
    if (!asked.every(word => row.text.includes(word))) continue;
    const cell = !state.cell || row.cell === state.cell, outcome = !state.outcome || row.outcome === state.outcome, note = !state.note || row.notes.has(state.note);
    if (outcome && note) { add("cell", ""); add("cell", row.cell); }
    if (cell && note) { add("outcome", ""); add("outcome", row.outcome); }
    if (cell && outcome) { add("note", ""); row.notes.forEach(name => add("note", name)); }
    if (cell && outcome && note) found.push(row);
  }
  return { found, counts };
}

function itemsOf(found) {      // what is drawn, one after the other: an image with its questions, or, in order of p, single questions
  if (state.sort !== "run") {
    const sign = state.sort === "down" ? -1 : 1;
    return found.filter(row => row.p !== undefined).sort((a, b) => sign * (a.p - b.p)).map(row => ({ card: row.card, rows: new Set([row.q]) }));
  }
  if (!filtered()) return runs[state.run].cards.map(card => ({ card, rows: null }));
  const groups = new Map();
  for (const row of found) groups.has(row.card) ? groups.get(row.card).add(row.q) : groups.set(row.card, new Set([row.q]));
  return [...groups].map(([card, rows]) => ({ card, rows }));
}

// ---- drawing

function fold(summary, text) {
  const details = make("details");
  details.append(make("summary", "", summary), make("pre", "", text, { dir: "auto" }));
  return details;
}

function question(q) {
  const node = make("div", "q"), reply = make("div", "reply");
  node.append(make("span", "tag " + (q.cell || "none"), q.cell || q.outcome), " ", make("span", "text", q.question, { dir: "auto" }));
  if (q.options) {
    const list = make("ol");
    list.append(...q.options.map(o => make("li", "", o, { dir: "auto" })));
    node.append(list);
  }
  reply.append(q.reply ? make("span", "text", q.reply, { dir: "auto" }) : make("span", "small", q.error || (q.thought ? "(nothing but a thought)" : "(empty reply)")));
  if (q.p !== undefined) reply.append(" ", make("span", "small", `p(abstain${q.options ? " | letters" : ""}) ${q.p.toFixed(2)}`));
  const shown = (q.notes || []).filter(note => !(q.reading || "").split("; ").includes(note));
  if (shown.length) reply.append(" ", make("span", "small", shown.join(", ")));
  if (q.reading) reply.append(fold(q.reading, q.thought || ""));
  node.append(reply);
  return node;
}

function sideOf(side, rows) {
  const node = make("div"), asked = side.questions.filter(q => !rows || rows.has(q));
  if (rows && !asked.length) return "";
  node.append(make("h4", "", `written as ${side.answerable ? "answerable" : "unanswerable"}`), ...asked.map(question));
  if (!asked.length) node.append(make("p", "small", "no question could be read" + (side.error ? ": " + side.error : "")));
  const notes = [side.reading, side.pieces && "left over: " + side.pieces].filter(Boolean), raw = fold(["raw reply", ...notes].join(" · "), side.raw || "");
  raw.classList.toggle("bare", !notes.length);      // folded up it says nothing on paper
  node.append(raw);
  return node;
}

function cardOf({ card, rows }) {
  const node = make("article", "card", undefined, { tabIndex: -1 }), left = make("div"), asks = make("div", "asks"), image = data.images[card.image];
  if (image) {
    const look = make("button", "look", undefined, { type: "button", title: "show it large", onclick: () => enlarge(card, image) });
    look.append(make("img", image.pixel ? "pixel" : "", undefined, { src: image.src, alt: card.id, width: image.size[0], height: image.size[1] }));
    left.append(look);
  }
  left.append(make("a", "small", card.id, { href: place(card) }));
  asks.append(...card.sides.map(side => sideOf(side, rows)).filter(Boolean));
  node.append(left, asks);
  return node;
}

let chunks = [], height = 260;      // height: of a card, as far as it is known
const seen = new IntersectionObserver(entries => entries.forEach(e => e.isIntersecting ? fill(e.target) : clear(e.target)), { rootMargin: FAR });

function fill(chunk) {
  if (chunk.childElementCount) return;
  chunk.replaceChildren(...items.slice(chunk.from, chunk.from + CHUNK).map(cardOf));
  chunk.style.minHeight = "";
}

function clear(chunk) {
  if (!chunk.childElementCount || chunk.contains(document.activeElement)) return;
  height = chunk.offsetHeight / chunk.childElementCount;
  chunk.style.minHeight = chunk.offsetHeight + "px";
  chunk.replaceChildren();
}

function draw() {
  seen.disconnect();
  chunks = [];
  for (let from = 0; from < items.length; from += CHUNK) {
    const chunk = make("div", "cards chunk", undefined, { from });
    chunk.style.minHeight = `${height * Math.min(CHUNK, items.length - from)}px`;
    chunks.push(chunk);
  }
  $("cards").replaceChildren(...chunks);
  chunks.slice(0, 2).forEach(fill);      // at once; the rest as it comes near
  chunks.forEach(chunk => seen.observe(chunk));
}

// ---- choices

function options(select, counts, first, names) {
  const kept = [...new Set([...names, ...(select.value && select.value in counts ? [] : [state[select.id]])])].filter(Boolean);
  select.replaceChildren(new Option(`${first} (${counts[""] || 0})`, ""), ...kept.map(name => new Option(`${name} (${counts[name] || 0})`, name)));
  select.value = state[select.id];
}

function say(found) {
  const run = runs[state.run], all = run.rows.length, some = found.length, left = state.sort === "run" ? 0 : some - items.length;
  const images = new Set(items.map(item => item.card)).size, n = (x, what) => `${x.toLocaleString("en")} ${what}${x === 1 ? "" : "s"}`;
  const cut = run.cards.length < run.images ? ` This page holds the first ${run.cards.length.toLocaleString("en")} of ${run.images.toLocaleString("en")} images.` : "";
  const lost = left ? ` ${n(left, "question")} without a p(abstain) ${left === 1 ? "is" : "are"} left out.` : "";
  $("said").textContent = (filtered() && !some ? "None match. Esc clears search and filters." :
    `${some === all ? n(all, "question") : `${some.toLocaleString("en")} of ${n(all, "question")}`} on ${n(images, "image")}.`) + lost + cut;
}

function update() {
  const { found, counts } = choose(), rows = runs[state.run].rows, names = kind => [...new Set(rows.flatMap(kind))].sort();
  for (const button of $("cells").children) {
    const name = button.dataset.cell;
    button.classList.toggle("on", name === state.cell);
    button.setAttribute("aria-pressed", name === state.cell);
    button.textContent = `${{ "": "all", none: "neither" }[name] || name} ${(counts.cell[name] || 0).toLocaleString("en")}`;
  }
  for (const button of $("runs").children) {
    button.classList.toggle("on", button.run === state.run);
    button.setAttribute("aria-pressed", button.run === state.run);
  }
  options($("outcome"), counts.outcome, "any outcome", names(row => [row.outcome]));
  options($("note"), counts.note, "any note", names(row => [...row.notes]));
  $("note").hidden = $("note").options.length < 2;
  $("sort").hidden = !rows.some(row => row.p !== undefined);
  if ($("sort").hidden) state.sort = "run";
  $("sort").value = state.sort;
  if ($("words").value !== state.words) $("words").value = state.words;
  items = itemsOf(found);
  at = -1;
  say(found);
  draw();
}

function set(changes) {
  state = { ...state, ...changes };
  update();
  const top = $("questions").getBoundingClientRect().top;      // what matches begins at the top, not where one has scrolled to
  if (top < 0) $("questions").scrollIntoView();
}

// ---- going to a card

const place = card => `#${runs[state.run].id}/${encodeURIComponent(card.id)}`;

function go(i) {
  if (!items.length) return;
  at = Math.max(0, Math.min(items.length - 1, i));
  const n = Math.floor(at / CHUNK);
  chunks.slice(Math.max(0, n - 1), n + 2).forEach(fill);
  const card = chunks[n].children[at % CHUNK];
  document.documentElement.style.setProperty("--hands", $("hands").offsetHeight + "px");      // what stands above a card that one goes to
  card.scrollIntoView({ block: "start" });
  card.focus({ preventScroll: true });
}

function step(by) {      // from the card that has the focus; where that is out of sight, from the one on top
  const now = chunks[Math.floor(at / CHUNK)]?.children[at % CHUNK], box = now?.getBoundingClientRect();
  if (box && box.bottom > 0 && box.top < innerHeight) return go(at + by);
  const top = chunks.flatMap(chunk => [...chunk.children].map((card, i) => [card, chunk.from + i])).find(([card]) => card.getBoundingClientRect().bottom > 80);
  go(top && top[0].getBoundingClientRect().top < innerHeight ? top[1] : 0);
}

function follow(link) {      // #questions-mc, or #mc/IMAGE
  const hash = link.slice(1), cut = hash.indexOf("/"), id = cut < 0 ? hash.replace(/^questions-/, "") : hash.slice(0, cut);
  const run = runs.findIndex(r => r.id === id);
  if (run < 0 || (cut < 0 && id === hash)) return $(hash)?.scrollIntoView();      // a part of the page that is not the gallery
  if (run !== state.run || cut >= 0) { state = { ...ALL, run }; update(); }
  if (cut < 0) return $("questions").scrollIntoView();
  let name = hash.slice(cut + 1);
  try { name = decodeURIComponent(name); } catch { /* not ours: taken as it stands */ }
  const i = items.findIndex(item => item.card.id === name);
  if (i >= 0) go(i);
}

// ---- an image shown large

function enlarge(card, image) {
  const [w, h] = image.size, [W, H] = image.of;
  $("whole").src = image.src;
  $("whole").className = image.pixel ? "pixel" : "";
  $("whole").alt = card.id;
  $("caption").textContent = `${card.id}: ` + (w === W && h === H ? `${w} × ${h} pixels, the size of the image`
    : `embedded here with ${w} × ${h} pixels; the image has ${W} × ${H}`);
  $("large").showModal();
}
$("large").onclick = event => { if (event.target === $("large")) $("large").close(); };

// ---- hands

for (const [i, run] of runs.entries()) $("runs").append(make("button", "", run.title, { type: "button", run: i, onclick: () => set({ ...ALL, run: i }) }));
$("runs").hidden = runs.length < 2;
for (const cell of ["", ...CELLS]) {
  const button = make("button", "", "", { type: "button", onclick: () => set({ cell }) });
  button.dataset.cell = cell;
  $("cells").append(button);
}
for (const id of ["outcome", "note", "sort"]) $(id).onchange = () => set({ [id]: $(id).value });
$("words").oninput = () => set({ words: $("words").value });
addEventListener("hashchange", () => follow(location.hash));
document.addEventListener("click", event => {      // in a notebook's frame a link would lead to the notebook
  const link = event.target.closest?.("a[href^='#']");
  if (!link || location.protocol !== "about:") return;
  event.preventDefault();
  follow(link.getAttribute("href"));
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("large").open) return;
  const typing = event.target.matches?.("input, select, textarea");
  if (event.key === "Escape") {
    document.activeElement?.blur();
    if (filtered() || state.sort !== "run") set(ALL);
  } else if (typing) return;
  else if (event.key === "/") { event.preventDefault(); $("words").focus(); $("words").select(); }
  else if (event.key === "j" || event.key === "ArrowRight") { event.preventDefault(); step(1); }
  else if (event.key === "k" || event.key === "ArrowLeft") { event.preventDefault(); step(-1); }
});
addEventListener("beforeprint", () => {
  chunks.slice(0, PRINTED / CHUNK).forEach(fill);
  seen.disconnect();
  chunks.slice(PRINTED / CHUNK).forEach(chunk => { chunk.hidden = true; });
  const others = runs.filter((_, i) => i !== state.run).map(run => run.title);
  $("printed").textContent = [others.length && `Printed: ${runs[state.run].title}; the page itself has ${others.join(", ")}, too.`, filtered() && `Chosen: ${$("said").textContent}`,
    items.length > PRINTED && `Printed: the first ${PRINTED} of ${items.length.toLocaleString("en")} cards.`].filter(Boolean).join(" ");
});
addEventListener("afterprint", () => { $("printed").textContent = ""; draw(); });
$("hands").hidden = false;
update();
if (location.hash) follow(location.hash);
