"use strict";

// Every text from the model or from a person goes into the page as text, never as markup.
const find = id => document.getElementById(id);
const make = (name, text = "", kind = "") => {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
let about;
const fields = [];

// An id may hold line breaks, and a line must not.
const escape = text => text.replace(/[\\\n\r]/g, letter => ({ "\\": "\\\\", "\n": "\\n", "\r": "\\r" })[letter]);
const unescape = text => text.replace(/\\([\\nr])/g, (_, letter) => ({ "\\": "\\", n: "\n", r: "\r" })[letter]);

const nameItem = item => Object.hasOwn(about.titles, item) ? `${escape(item)}: ${about.titles[item]}` : escape(item);

// A field has one value per line: its rows, its behaviours or its values. Deeper ones have a JSON list per line.
const write = value => value === null ? "" : Array.isArray(value) ? JSON.stringify(value) : escape(String(value));

const parse = (input, line, hashed) => {
  if (input.shape.length > 2) return JSON.parse(line);
  if (hashed || input.datatype === "INT64" && !input.hash) {
    if (!/^-?\d+$/.test(line)) throw new Error(`${input.name}: "${line}" is no whole number`);
    return Number(line);
  }
  if (input.datatype !== "FP64") return unescape(line);
  if (line.trim() === "") return null;
  if (!Number.isFinite(Number(line))) throw new Error(`${input.name}: "${line}" is no number`);
  return Number(line);
};

const readField = ({ input, area }) => {
  const hashed = area.dataset.hashed === "yes";
  const lines = area.value === "" && input.shape.length > 1 ? [] : area.value.split("\n");
  const values = lines.map(line => parse(input, line, hashed));
  const shape = input.shape.length === 1 ? [values.length] : [1, values.length];
  if (input.shape.length > 2) shape.push(values.length ? values[0].length : 0);
  const datatype = input.hash && !hashed ? "BYTES" : input.datatype;
  return { name: input.name, datatype, shape, data: values.flat() };
};

// What has a line for each candidate: the candidates, and what is known of those that the model does not know.
const isOfCandidates = ({ name, shape }) => shape.length === 1 && (shape[0] === "rows" || name.startsWith("item_"));

// One choice per golden request of one user; of several users, one choice for each.
const listChoices = golden => golden.flatMap(row => {
  const several = about.inputs.some(input => !isOfCandidates(input) && row.inputs[input.name].length > 1);
  return several ? row.inputs.item.map((_, at) => ({ name: `${row.name}, row ${at + 1}`, row, at })) : [{ name: row.name, row }];
});

const fill = ({ row, at }) => {
  for (const { input, area } of fields) {
    const values = row.inputs[input.name];
    const all = input.shape.length === 1 && at === undefined;
    const own = all ? values : values[Math.min(at ?? 0, values.length - 1)];
    area.value = (Array.isArray(own) ? own : [own]).map(write).join("\n");
    area.dataset.hashed = input.hash ? "yes" : "no";
  }
};

const addField = input => {
  const label = make("label", `${input.name} `);
  const area = make("textarea");
  const hasLines = input.shape.length > 1 || isOfCandidates(input);
  label.append(make("small", `${input.meaning}${hasLines ? "; one per line" : ""}`));
  label.htmlFor = area.id = `input-${input.name}`;
  area.rows = hasLines ? 5 : 1;
  area.spellcheck = false;
  area.addEventListener("input", () => { area.dataset.hashed = "no"; });
  const box = make("div");
  box.append(label, area);
  find("inputs").append(box);
  fields.push({ input, area });
};

const ask = async () => {
  const inputs = fields.map(readField);
  const wanted = ["click_probability", "logit", "known", "activation_weights"];
  const outputs = wanted.filter(name => about.outputs.some(each => each.name === name)).map(name => ({ name }));
  const response = await fetch(`/v2/models/${encodeURIComponent(about.name)}/infer`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ inputs, outputs }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  const scored = Object.fromEntries(answer.outputs.map(each => [each.name, each.data]));
  const sent = Object.fromEntries(inputs.map(each => [each.name, each.data]));
  const count = sent.history.length;
  return sent.item.map((item, at) => ({
    item,
    probability: scored.click_probability[at],
    logit: scored.logit[at],
    known: scored.known?.[at] ?? true,
    weights: scored.activation_weights?.slice(at * count, (at + 1) * count),
    history: sent.history,
  }));
};

const addBar = (element, share, minus = false) => {
  const bar = make("span", "", minus ? "bar minus" : "bar");
  bar.style.width = `${Math.max(0.5, 100 * share)}%`;
  element.append(bar);
};

const addCandidate = ({ item, probability, logit, known, weights, history }) => {
  const summary = make("summary", `${nameItem(item)}${known ? "" : " (unknown)"} `);
  summary.append(make("span", `${(100 * probability).toFixed(2)} %`, "number"), make("small", ` logit ${logit.toFixed(4)}`));
  addBar(summary, probability);
  const line = make("li");
  if (weights) {
    const largest = Math.max(...weights.map(Math.abs)) || 1;
    const list = make("ul", "", "behaviours");
    weights.forEach((weight, at) => {
      if (history[at] === "") return;
      const behaviour = make("li", `${nameItem(history[at])} `);
      behaviour.append(make("span", weight.toFixed(4), "number"));
      addBar(behaviour, Math.abs(weight) / largest, weight < 0);
      list.append(behaviour);
    });
    const details = make("details");
    details.append(summary, list);
    line.append(details);
  } else {
    line.append(...summary.childNodes);
  }
  find("ranking").append(line);
};

const rank = async event => {
  event?.preventDefault();
  find("ranking").replaceChildren();
  find("error").hidden = true;
  try {
    const candidates = await ask();
    candidates.sort((one, other) => other.logit - one.logit).forEach(addCandidate);
    find("answer").hidden = false;
    find("meaning").hidden = !candidates[0].weights;
  } catch (error) {
    find("error").textContent = error.message;
    find("error").hidden = false;
  }
};

const start = async () => {
  about = await (await fetch("/ui/about.json")).json();
  document.title = find("title").textContent = about.name;
  find("about").textContent = `Model ${about.model ?? about.name}, exported ${about.created ?? "at an unknown time"}`;
  about.inputs.forEach(addField);
  const choices = listChoices(about.golden);
  choices.forEach((choice, at) => find("golden").append(new Option(choice.name, at)));
  find("golden").addEventListener("change", () => fill(choices[find("golden").value]));
  find("request").addEventListener("submit", rank);
  fill(choices[0]);
};

start();
