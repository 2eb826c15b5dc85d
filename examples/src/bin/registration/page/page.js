// Registers people and shows, by asking again and again, what became of them. All text goes in as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
let chosen = null; // id of the user whose steps are shown; the newest one if null
let last = "";
let timer = null;

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function since(user, time) {
  if (time === null || time === undefined) return null;
  const ms = Math.max(0, (time - user.asked_us) / 1000);
  return ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString("en");
}

function showErrors(answer) {
  for (const field of ["name", "email"]) {
    const wrong = answer !== null && answer.field === field;
    $(field + "-error").textContent = wrong ? answer.error : "";
    $(field).setAttribute("aria-invalid", wrong);
    if (wrong) $(field).focus();
  }
  $("form-error").textContent = answer !== null && !answer.field ? answer.error : "";
}

async function register(event) {
  event.preventDefault();
  const button = $("form").querySelector("button");
  button.disabled = true;
  showErrors(null);
  try {
    const response = await fetch("api/registrations", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: $("name").value, email: $("email").value }),
    });
    const answer = await response.json();
    if (response.ok) {
      chosen = answer.id;
      $("form").reset();
      $("name").focus();
    } else {
      showErrors(answer);
    }
  } catch {
    showErrors({ field: null, error: "The web service does not answer. Is it running?" });
  }
  button.disabled = false;
  look();
}

function step(label, detail, time, state) {
  const item = element("li", undefined, state);
  const text = element("span", label);
  if (detail) text.append(element("small", detail));
  item.append(text, element("b", time === null ? "" : time + " ms"));
  return item;
}

function showSteps(user) {
  $("steps").hidden = !user;
  if (!user) return;
  $("steps-who").textContent = user.name + " · " + user.email;
  const state = (time) => (time === null ? "todo" : "done");
  const queued = user.way === "queued";
  const items = [step("Saved", "in SQLite, " + (queued ? "user and event in one transaction" : "without an event"),
    since(user, user.saved_us), "done")];
  if (queued) {
    const late = user.enqueued_us === null && user.answered_us !== null;
    items.push(step("Enqueued", user.message_id ? "message " + user.message_id
      : late ? "the broker is away; the event waits in the outbox" : "", since(user, user.enqueued_us), state(user.enqueued_us)));
  }
  const answered = step("Answered", "", since(user, user.answered_us), state(user.answered_us));
  if (queued) {
    items.push(answered);
    items.push(step("Received by the mailer", "", since(user, user.received_us), state(user.received_us)));
  }
  if (user.refused) {
    items.push(step("Refused", user.refused, since(user, user.mailed_us), "refused"));
  } else {
    items.push(step("Mailed", "accepted by the mail server", since(user, user.mailed_us), state(user.mailed_us)));
  }
  if (!queued) items.push(answered);
  $("steps").replaceChildren(...items);
}

function bars(user, longest) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("viewBox", "0 0 1000 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const draw = (name, from, to, y, height) => {
    const rect = document.createElementNS(ns, "rect");
    rect.setAttribute("class", "bar-" + name);
    rect.setAttribute("x", Math.min(1000, (1000 * (from - user.asked_us)) / longest));
    rect.setAttribute("width", Math.max(4, Math.min(1000, (1000 * (to - from)) / longest)));
    rect.setAttribute("y", y);
    rect.setAttribute("height", height);
    svg.append(rect);
  };
  let from = user.asked_us;
  for (const [name, time] of [["saved", user.saved_us], ["enqueued", user.enqueued_us], ["mailed", user.mailed_us]]) {
    if (time === null || time < from) continue;
    draw(name, from, time, 0, 10);
    from = time;
  }
  if (user.answered_us !== null) draw("answered", user.answered_us, user.answered_us, -3, 16);
  return svg;
}

function showPeople(users, shown) {
  const total = (user) => Math.max(user.saved_us, user.enqueued_us ?? 0, user.mailed_us ?? 0) - user.asked_us;
  const sorted = users.map(total).sort((a, b) => a - b);
  // One straggler shall not squeeze all others to nothing.
  const longest = Math.max(1000, Math.min((sorted.at(-1) ?? 0) * 1.02, 4 * (sorted[Math.floor(sorted.length / 2)] ?? 0)));
  $("people").replaceChildren(...users.map((user) => {
    const row = element("tr");
    row.setAttribute("aria-selected", shown !== undefined && user.id === shown.id);
    row.addEventListener("click", () => { chosen = user.id; last = ""; look(); });
    const times = [user.saved_us, user.enqueued_us, user.answered_us, user.mailed_us];
    row.append(element("td", user.name), element("td", user.email));
    row.append(...times.map((time) => element("td", since(user, time) ?? "–", "n")));
    if (user.refused) row.lastChild.textContent = "refused";
    const chart = element("td", undefined, "chart");
    chart.append(bars(user, longest));
    row.append(chart);
    return row;
  }));
}

function showMails(mails) {
  $("mailbox").hidden = mails === null;
  const open = new Set([...$("mails").querySelectorAll("details[open]")].map((node) => node.dataset.id));
  $("mails").replaceChildren(...(mails ?? []).map((mail) => {
    const details = element("details");
    details.dataset.id = mail.message_id + mail.recipient;
    details.open = open.has(details.dataset.id);
    const summary = element("summary");
    const when = new Date(mail.received_us / 1000).toLocaleTimeString();
    summary.append(element("span", mail.recipient), element("span", mail.subject + (mail.copies > 1
      ? ` (came ${mail.copies} times, folded by its Message-ID)` : "")), element("span", when, "quiet"));
    details.append(summary, element("pre", "Message-ID: " + mail.message_id + "\n\n" + mail.text.trimEnd()));
    const item = element("li");
    item.append(details);
    return item;
  }));
}

async function look() {
  clearTimeout(timer);
  let busy = false;
  try {
    const state = await (await fetch("api/state")).json();
    const known = JSON.stringify([state.users, state.mails, state.waiting, state.cluster]);
    busy = state.users.some((user) => user.mailed_us === null);
    if (known !== last) {
      last = known;
      const shown = state.users.find((user) => user.id === chosen) ?? state.users[0];
      showSteps(shown);
      showPeople(state.users, shown);
      showMails(state.mails);
      $("people-note").textContent = state.waiting > 0
        ? `${state.waiting} event(s) wait in the outbox for the broker.`
        : "Milliseconds since the request came; a click shows the steps.";
      $("cluster").textContent = "Cluster: " + state.cluster + ".";
    }
  } catch {
    $("people-note").textContent = "The web service does not answer.";
    last = "";
  }
  timer = setTimeout(look, busy ? 150 : 700);
}

$("form").addEventListener("submit", register);
look();
