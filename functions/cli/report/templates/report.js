"use strict";
// Shows the account as it was at each of the scans that the page holds. Names and texts are text: nothing here writes
// markup, which the page's policy would refuse.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { scans, values, controls, attributes } = data;
  const users = data.users.map(([id, present, facts, knowledge, found]) => ({ id, present, facts, knowledge, found }));
  const place = Object.fromEntries(attributes.map((one, number) => [one.name, number]));
  const judged = controls.filter((one) => !one.root);
  const ofRoot = controls.filter((one) => one.root);

  const FINDING = 0, UNKNOWN = 1;
  const CURRENT = 0, STALE = 1;
  const DAY = 86400;
  const PAGE = matchMedia("screen and (max-width: 44rem)").matches ? 15 : 50;

  // ---- What is known of a user in a scan

  const there = (user, scan) => {
    for (let i = 0; i < user.present.length; i += 2)
      if (scan >= user.present[i] && scan <= user.present[i + 1]) return true;
    return false;
  };
  // A value alone never changes; else scan, value, scan, value …
  const during = (run, scan) => {
    if (!Array.isArray(run)) return run ?? null;
    let value = null;
    for (let i = 0; i < run.length && run[i] <= scan; i += 2) value = run[i + 1];
    return value;
  };
  const raw = (user, name, scan) => during(user.facts[place[name]], scan);
  const fact = (user, name, scan) => {
    const value = raw(user, name, scan);
    if (value === null) return null;
    const { kind } = attributes[place[name]];
    if (kind === "flag") return value === 1;
    if (kind === "time") return value;
    return values[value];
  };
  const current = (user, scan) => during(user.knowledge, scan) === CURRENT;
  // The status alone where it never changes and needs no words, else [scan, status, place of the words, moment, …].
  const step = (user, control, scan) => {
    const steps = user.found[control];
    if (!Array.isArray(steps)) return [0, steps];
    let step = steps[0];
    for (let i = 1; i < steps.length && steps[i][0] <= scan; i += 1) step = steps[i];
    return step;
  };
  // Asked tens of thousands of times before the page is there.
  const status = (user, control, scan) => {
    const steps = user.found[control];
    return Array.isArray(steps) ? step(user, control, scan)[1] : steps;
  };
  const reason = (user, control, scan) => {
    const [, , place, ...moments] = step(user, control, scan);
    return place === undefined ? "" : told(values[place], moments, scan);
  };
  const days = (from, scan) => Math.max(0, Math.floor((scans[scan].at - from) / DAY));
  const told = (text, moments, scan) => {
    let next = 0;
    return text.replace(/[\ue000-\ue002]/g, (mark) =>
      mark === "\ue000" ? number(days(moments[next++], scan)) : scans[scan].report_times[mark.charCodeAt(0) - 0xe001]);
  };
  // A stale report's reason also tells what the report said.
  const shared = (why) => why.split("; it said ")[0];
  // The part that others share. Thousands have the same one: its words are put together once, where no moment is in them.
  const worded = new Map();
  const why = (user, control, scan) => {
    const [, , place, ...moments] = step(user, control, scan);
    if (place === undefined || moments.length) return shared(reason(user, control, scan));
    const key = `${scan} ${place}`;
    if (!worded.has(key)) worded.set(key, shared(told(values[place], moments, scan)));
    return worded.get(key);
  };
  const group = (groups, name, one) => {
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(one);
  };
  const keys = (user, scan) => [1, 2].map((slot) => ({
    created: raw(user, `access_key_${slot}_last_rotated`, scan),
    active: fact(user, `access_key_${slot}_active`, scan) === true,
    used: raw(user, `access_key_${slot}_last_used_date`, scan),
  })).filter((key) => key.created !== null).sort((one, other) => one.created - other.created);

  // true, false, or null where it is not known: what is unknown is never taken for fine.
  const reported = (name, wanted) => (user, scan) => {
    const value = fact(user, name, scan);
    return !current(user, scan) || value === null ? null : value === wanted;
  };
  const administrator = (user, scan) => {
    const via = fact(user, "admin_via", scan);
    return via === null ? null : via.length > 0;
  };
  const found = (control) => (user, scan) => {
    const is = status(user, control, scan);
    return is === UNKNOWN ? null : is === FINDING;
  };
  const any = (user, scan) => {
    const all = judged.map((_, control) => found(control)(user, scan));
    return all.includes(true) ? true : all.includes(null) ? null : false;
  };
  const FILTERS = {
    administrator: ["Administrator", administrator],
    mfa: ["No MFA device", reported("mfa_active", false)],
    console: ["Console password", reported("password_enabled", true)],
    key: ["Active access key", (user, scan) =>
      (current(user, scan) ? keys(user, scan).some((key) => key.active) : null)],
  };
  const all = (tests) => (user, scan) => {
    let answer = true;
    for (const test of tests) {
      const one = test(user, scan);
      if (one === false) return false;
      if (one === null) answer = null;
    }
    return answer;
  };
  // The first of the scans, one after another up to this one, in which it was so.
  const since = (user, scan, test) => {
    let first = scan;
    while (first > 0 && there(user, first - 1) && test(user, first - 1) === true) first -= 1;
    if (first === 0) return { first, why: "or earlier" };
    const before = scans[first - 1];
    const at = when(before.scan);
    if (!there(user, first - 1)) return { first, why: before.missing ? `unknown on ${at}` : `not there on ${at}` };
    return { first, why: test(user, first - 1) === null ? `unknown on ${at}` : `not so on ${at}` };
  };

  // ---- Words

  const number = (count) => count.toLocaleString("en-US");
  const count = (many, noun) => `${number(many)} ${noun}${many === 1 ? "" : "s"}`;
  const iso = (seconds) => (typeof seconds === "number"
    ? new Date(seconds * 1000).toISOString().replace(".000Z", "Z") : String(seconds));
  const when = (text) => text.slice(0, 16).replace("T", " ");
  const day = (seconds) => iso(seconds).slice(0, 10);
  const ago = (seconds) => {
    const parts = [[DAY, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    let rest = Math.max(0, Math.floor(seconds));
    const words = [];
    for (const [size, unit] of parts) {
      if (rest >= size) words.push(`${number(Math.floor(rest / size))} ${unit}`);
      rest %= size;
    }
    return words.slice(0, 2).join(" ") || "0 s";
  };
  const plain = (value) => {
    if (value === null || value === undefined || (Array.isArray(value) && !value.length)) return "none";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (Array.isArray(value)) return value.join(", ");
    if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key}=${one}`).join(", ");
    return String(value);
  };
  // An ARN of a policy by its name; the whole is in the user's own view.
  const short = (text) => text.replace(/arn:[^ ;]*:policy\/(?:[^ ;]*\/)?/g, "");
  const path = (arn) => {
    const name = String(arn).slice(String(arn).indexOf("/"));
    return name.slice(0, name.lastIndexOf("/") + 1);
  };

  // ---- Elements

  const byId = (id) => document.getElementById(id);
  const make = (name, properties = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key === "class") element.className = value;
      else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };
  const fill = (element, ...children) => element.replaceChildren(...children.filter((one) => one !== null));
  const badge = (text, kind = "") => make("span", { class: `badge ${kind}`.trim() }, text);
  const pale = (text) => make("span", { class: "pale" }, text);
  const person = (user, scan) => make("button", {
    type: "button", class: "link name", "data-user": user.id, onclick: () => openUser(user),
  }, nameOf(user, scan));
  const nameOf = (user, scan) => fact(user, "user_name", lastSeen(user, scan)) ?? user.id;
  const lastSeen = (user, scan) => {
    if (there(user, scan)) return scan;
    const before = user.present.filter((_, i) => i % 2 === 1).filter((end) => end <= scan);
    return before.length ? before[before.length - 1] : user.present[0];
  };
  // Shows some, and the rest on demand: a table of 5,000 rows is for print and for those who ask for it.
  const some = (list, items, show, noun, shown = PAGE) => {
    const host = list.closest("[data-list]") ?? list.parentElement;
    host.querySelector(":scope > .more")?.remove();
    const add = (from, until) => list.append(...items.slice(from, until).map(show));
    add(0, shown);
    list.showAll = () => {
      if (shown >= items.length) return;
      add(shown, items.length);
      shown = items.length;
      host.querySelector(":scope > .more")?.remove();
    };
    if (items.length <= shown) return;
    const left = make("span", { class: "pale" });
    const tell = () => { left.textContent = `${number(shown)} of ${count(items.length, noun)} shown`; };
    const more = make("p", { class: "more" }, left, " ",
      make("button", { type: "button", onclick: () => {
        const next = list.children.length;
        add(shown, shown + 4 * PAGE);
        shown = Math.min(items.length, shown + 4 * PAGE);
        tell();
        list.children[next]?.querySelector("button, a")?.focus();
        if (shown >= items.length) more.remove();
      } }, "Show more"), " ",
      make("button", { type: "button", onclick: () => {
        const next = list.children.length;
        list.showAll();
        list.children[next]?.querySelector("button, a")?.focus();
      } }, "Show all"));
    tell();
    host.append(more);
  };

  // ---- The moment

  const moment = byId("moment");
  let scan = scans.length - 1;
  let rows = [];

  const choose = (chosen) => {
    scan = Math.max(0, Math.min(scans.length - 1, chosen));
    moment.value = String(scan);
    byId("earlier").disabled = scan === 0;
    byId("later").disabled = scan === scans.length - 1;
    rows = users.filter((user) => there(user, scan));
    for (const one of document.querySelectorAll("[data-cursor]")) {
      const x = one.dataset.cursor.split(" ")[scan];
      one.setAttribute("x1", x);
      one.setAttribute("x2", x);
    }
    for (const one of document.querySelectorAll("[data-row]"))
      one.toggleAttribute("data-now", Number(one.dataset.row) === scan);
    showTiles();
    showRests();
    showFindings();
    showUsers();
    byId("said").textContent = `The account at ${when(scans[scan].scan)} UTC: ${count(rows.length, "user")}`;
  };

  const counted = (test) => {
    let yes = 0, unknown = 0;
    for (const user of rows) {
      const answer = test(user, scan);
      if (answer === true) yes += 1;
      if (answer === null) unknown += 1;
    }
    return { yes, unknown };
  };

  const TILES = [
    ["Users", [], ""],
    ["Administrators", ["administrator"], ""],
    ["Administrators without an MFA device", ["administrator", "mfa"], "bad"],
    ["Console passwords without an MFA device", ["console", "mfa"], "bad"],
  ];
  const showTiles = () => {
    const tiles = TILES.map(([name, filters, kind]) => {
      const { yes, unknown } = filters.length
        ? counted(all(filters.map((filter) => FILTERS[filter][1]))) : { yes: rows.length, unknown: 0 };
      return make("li", {}, make("button", {
        type: "button", class: `tile ${yes ? kind : ""}`, onclick: () => jump(filters),
      }, make("strong", {}, number(yes)), make("span", {}, name),
      unknown ? make("em", {}, `unknown for ${number(unknown)} more`) : null));
    });
    const totals = [0, 0, 0];
    for (const user of rows) for (let control = 0; control < judged.length; control += 1) totals[status(user, control, scan)] += 1;
    for (const [one] of scans[scan].root_findings) totals[one] += 1;
    tiles.push(make("li", {}, make("a", { class: `tile ${totals[FINDING] ? "bad" : ""}`, href: "#findings" },
      make("strong", {}, number(totals[FINDING])), make("span", {}, "Findings"),
      totals[UNKNOWN] ? make("em", {}, `${number(totals[UNKNOWN])} could not be judged`) : null)));
    fill(byId("tiles"), ...tiles);
  };

  const showRests = () => {
    const one = scans[scan];
    const made = Date.parse(data.made) / 1000;
    const line = (name, ...what) => [make("dt", {}, name), make("dd", {}, ...what)];
    const facts = [
      line("Scan", make("time", { datetime: one.scan }, one.scan), " ", badge("complete", "good")),
      line("Listed", `${one.from} to ${one.until}`, " ",
        pale(`${ago(made - Date.parse(one.until) / 1000)} before this page was made`)),
      ...one.sections.map((section) => line(section.name[0].toUpperCase() + section.name.slice(1),
        badge(section.known ? "current" : "unknown", section.known ? "good" : "warn"), " ", section.line)),
      line("Users", `${number(one.users)} recorded`),
    ];
    fill(byId("facts"), ...facts.flat());
    const reasons = new Map();
    for (const user of rows)
      for (let control = 0; control < judged.length; control += 1)
        if (status(user, control, scan) === UNKNOWN) group(reasons, why(user, control, scan), user);
    for (const [text, whom] of reasons) reasons.set(text, new Set(whom));
    const limits = [];
    if (one.missing)
      limits.push(["bad", `${number(one.missing)} of ${count(one.written, "record")} of this scan are missing here: the `
        + "index of the table had not yielded them. Make the page again."]);
    for (const [text, whom] of [...reasons].sort((a, b) => b[1].size - a[1].size))
      limits.push(["warn", `Unknown for ${count(whom.size, "user")}: ${text}`]);
    scans.forEach((other, place) => {
      if (other.missing && place !== scan)
        limits.push(["bad", `${number(other.missing)} of ${count(other.written, "record")} of the scan ${other.scan} are `
          + "missing here, so who seems to be absent from it may not be."]);
    });
    const { period } = data;
    if (scans.length < period.trusted)
      limits.push(["", `This page holds ${number(scans.length)} of the ${number(period.trusted)} trusted scans of its `
        + "period, evenly spread. What began and ended between two of them is not seen, and “since” names the first of "
        + "those that are held."]);
    if (period.untrusted.length)
      limits.push(["", `${count(period.untrusted.length, "scan")} of this period may not be trusted, and `
        + `${period.untrusted.length === 1 ? "is" : "are"} left out: `
        + period.untrusted.slice(-5).map(([name, status]) => `${name} ${status}`).join(", ")
        + (period.untrusted.length > 5 ? ", …" : "")]);
    for (const [from, until] of period.gaps.slice(-5))
      limits.push(["", `No trusted scan from ${from} to ${until}: who lived only then is not known.`]);
    for (const note of data.notes) limits.push(["", note]);
    limits.push(["", `${scans[0].scan} is the oldest scan of this page`
      + (scans[0].scan === period.oldest ? ", and the oldest that is kept: what was before is not known."
        : `; the oldest that is kept is ${period.oldest}.`)]);
    fill(byId("limits"), ...limits.map(([kind, text]) => make("li", { class: kind }, text)));
  };

  // ---- Findings

  const showFindings = () => {
    for (const details of document.querySelectorAll("details.control")) {
      const place = Number(details.dataset.control);
      const control = controls[place];
      // null is the root user.
      const own = place - ofRoot.length;
      const [is, text] = control.root ? scans[scan].root_findings[place] : [];
      const list = control.root ? [null] : rows;
      const those = (wanted) => list.filter((user) => (user ? status(user, own, scan) : is) === wanted);
      const words = (user) => (user ? reason(user, own, scan) : text);
      const wrong = those(FINDING), unknown = those(UNKNOWN);
      fill(details.querySelector(".counts"),
        wrong.length ? badge(count(wrong.length, "finding"), "bad") : null,
        unknown.length ? badge(`${number(unknown.length)} unknown`, "warn") : null,
        !wrong.length && !unknown.length ? badge(list.length ? "no finding" : "nobody to judge", list.length ? "good" : "") : null);
      const show = () => {
        if (details.shown === scan) return;
        details.shown = scan;
        const host = details.querySelector("[data-list]");
        const reasons = new Map();
        for (const user of unknown) group(reasons, user ? why(user, own, scan) : shared(text), user);
        const list = make("ul", { class: "people" });
        fill(host, wrong.length ? list : make("p", { class: "pale" }, "No finding where it could be judged."));
        if (wrong.length) some(list, wrong.sort(byName), (user) => make("li", {},
          user ? person(user, scan) : make("b", {}, "root user"), " ", make("span", {}, words(user)),
          user ? sinceTold(since(user, scan, found(own)), "since ") : null), "finding");
        for (const [why, whom] of [...reasons].sort((a, b) => b[1].length - a[1].length)) {
          const people = make("ul", { class: "people" });
          const fold = make("details", { class: "unknown", "data-list": "" }, make("summary", {}, badge("unknown", "warn"), " ",
            `${whom[0] ? count(whom.length, "user") : "root user"}: ${why}`), people);
          fold.addEventListener("toggle", () => {
            if (!people.children.length && whom[0])
              some(people, whom, (user) => make("li", {}, person(user, scan), " ",
                pale(words(user).slice(why.length).replace(/^; /, ""))), "user");
          });
          host.append(whom[0] ? fold : make("p", {}, badge("unknown", "warn"), " ", text));
        }
      };
      details.shown = null;
      details.show = show;
      details.hasFinding = wrong.length > 0;
      if (details.open) show();
    }
  };
  for (const details of document.querySelectorAll("details.control")) {
    details.addEventListener("toggle", () => { if (details.open) details.show(); });
  }
  const sinceTold = ({ first, why }, prefix = "") => make("span", { class: "since" },
    `${prefix}${when(scans[first].scan)}`, make("span", { class: "comma" }, ", "), pale(why));

  // ---- Users

  const { compare } = new Intl.Collator("en");
  const byName = (one, other) => (one && other ? compare(nameOf(one, scan), nameOf(other, scan)) : 0);
  const tri = (answer) => (answer === null ? -1 : Number(answer));
  const lastUse = (user) => Math.max(-1, ...[raw(user, "password_last_used", scan), ...keys(user, scan)
    .map((key) => key.used)].filter((one) => typeof one === "number"));
  const totals = (user) => {
    const is = judged.map((_, control) => status(user, control, scan));
    return { wrong: is.filter((one) => one === FINDING).length, unknown: is.filter((one) => one === UNKNOWN).length };
  };
  const oldest = (user) => {
    const active = keys(user, scan).filter((key) => key.active);
    return active.length ? scans[scan].at - active[0].created : -1;
  };
  // What is worst comes first, of these columns by their larger values.
  const LARGEST_FIRST = new Set(["findings", "administrator", "console", "keys"]);
  const COLUMNS = [
    ["user", "User", (user) => nameOf(user, scan), (user) => [person(user, scan),
      path(fact(user, "arn", scan)) === "/" ? null : make("span", { class: "pale path" }, path(fact(user, "arn", scan)))]],
    ["findings", "Findings", (user) => totals(user).wrong + totals(user).unknown / 100, (user) => {
      const { wrong, unknown } = totals(user);
      return [wrong ? badge(number(wrong), "bad") : null, wrong && unknown ? " " : null,
        unknown ? make("span", { class: "pale nowrap" }, `${unknown} unknown`) : null, !wrong && !unknown ? badge("none", "good") : null];
    }],
    ["administrator", "Administrator", (user) => tri(administrator(user, scan)), (user) => {
      const via = fact(user, "admin_via", scan);
      if (via === null) return [badge("unknown", "warn")];
      return via.length
        ? [badge("yes", "bad"), make("span", { class: "via", title: via.join("; ") }, via.map(short).join("; "))] : ["no"];
    }],
    ["mfa", "MFA", (user) => tri(reported("mfa_active", true)(user, scan)), (user) => {
      const answer = reported("mfa_active", true)(user, scan);
      if (answer === null) return [uncertain(user, "mfa_active", ["yes", "no"])];
      const matters = reported("password_enabled", true)(user, scan) || administrator(user, scan);
      return [answer ? badge("yes", "good") : badge("no", matters ? "bad" : "")];
    }],
    ["console", "Password", (user) => tri(reported("password_enabled", true)(user, scan)), (user) => {
      const answer = reported("password_enabled", true)(user, scan);
      return [answer === null ? uncertain(user, "password_enabled", ["yes", "none"]) : answer ? "yes" : "none"];
    }],
    ["keys", "Access keys", (user) => oldest(user), (user) => {
      if (during(user.knowledge, scan) > STALE) return [badge("unknown", "warn")];
      const list = keys(user, scan).map((key) => `${number(days(key.created, scan))} d${key.active ? "" : " inactive"}`);
      return [list.join(", ") || "none", current(user, scan) ? null : badge("stale", "warn")];
    }],
    ["used", "Last used", (user) => lastUse(user), (user) => {
      const last = lastUse(user);
      if (!current(user, scan)) return [last > 0 ? `${day(last)} ` : null, badge(last > 0 ? "or later" : "unknown", "warn")];
      return [last > 0 ? day(last) : "never"];
    }],
    ["groups", "Groups", (user) => plain(fact(user, "groups", scan)), (user) => {
      const groups = fact(user, "groups", scan);
      return [groups === null ? badge("unknown", "warn") : groups.join(", ") || pale("none")];
    }],
    ["since", "Since", (user) => since(user, scan, test()).first, (user) => [sinceTold(since(user, scan, test()))]],
  ];
  const uncertain = (user, name, [yes, no]) => {
    const value = fact(user, name, scan);
    return badge(during(user.knowledge, scan) === STALE && value !== null ? `${value ? yes : no}, stale` : "unknown", "warn");
  };

  const active = new Set();
  let sorted = "findings", downwards = true, withUnknown = false;
  const wanted = byId("search");
  const control = byId("control");

  const test = () => {
    const tests = [...active].map((name) => FILTERS[name][1]);
    if (control.value === "any") tests.push(any);
    else if (control.value !== "") tests.push(found(Number(control.value)));
    return all(tests);
  };
  const matches = (user, words) => {
    if (!words.length) return true;
    const text = [nameOf(user, scan), user.id, fact(user, "arn", scan), fact(user, "groups", scan),
      fact(user, "attached_policies", scan), fact(user, "inline_policies", scan), fact(user, "admin_via", scan),
      fact(user, "permissions_boundary", scan), fact(user, "tags", scan)].map(plain).join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  };

  for (const [name, [title]] of Object.entries(FILTERS)) {
    byId("chips").append(make("button", { type: "button", class: "chip", "aria-pressed": "false", "data-filter": name,
      onclick: () => { toggle(name); } }, title));
  }
  control.append(make("option", { value: "any" }, "Any finding"));
  judged.forEach((one, place) => control.append(make("option", { value: String(place) }, one.title)));
  const toggle = (name) => {
    if (active.has(name)) active.delete(name); else active.add(name);
    showUsers();
  };
  const jump = (filters) => {
    active.clear();
    for (const name of filters) active.add(name);
    control.value = "";
    wanted.value = "";
    showUsers();
    byId("users").scrollIntoView();
    byId("users-title").focus({ preventScroll: true });
  };
  byId("clear").addEventListener("click", () => { jump([]); wanted.focus(); });

  const heads = byId("heads");
  const order = byId("order");
  for (const [name, title] of COLUMNS) {
    heads.append(make("th", { scope: "col", role: "columnheader", "data-column": name }, make("button", {
      type: "button", onclick: () => { sortBy(name); } }, make("span", {}, title), make("span", { class: "arrow", "aria-hidden": "true" }))));
    order.append(make("option", { value: name }, title));
  }
  const sortBy = (name) => {
    downwards = sorted === name ? !downwards : LARGEST_FIRST.has(name);
    sorted = name;
    showUsers();
  };
  order.addEventListener("change", () => {
    downwards = LARGEST_FIRST.has(order.value);
    sorted = order.value;
    showUsers();
  });

  const showUsers = () => {
    const words = wanted.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = test();
    const filtered = active.size > 0 || control.value !== "";
    for (const chip of document.querySelectorAll("[data-filter]"))
      chip.setAttribute("aria-pressed", String(active.has(chip.dataset.filter)));
    const among = rows.filter((user) => matches(user, words));
    const yes = among.filter((user) => asked(user, scan) === true);
    const maybe = among.filter((user) => asked(user, scan) === null);
    const [, , key] = COLUMNS.find(([name]) => name === sorted);
    const keyed = (withUnknown ? [...yes, ...maybe] : yes).map((user) => [key(user), nameOf(user, scan), user]);
    keyed.sort(([one, a], [other, b]) => {
      const less = typeof one === "string" ? compare(one, other) : one - other;
      return (downwards ? -less : less) || compare(a, b);
    });
    for (const head of heads.children) {
      const is = head.dataset.column === sorted;
      head.setAttribute("aria-sort", is ? (downwards ? "descending" : "ascending") : "none");
      if (head.dataset.column === "since")
        head.querySelector("span").textContent = filtered ? "So since" : "Seen since";
    }
    order.value = sorted;
    const body = byId("rows");
    fill(body);
    some(body, keyed.map(([, , user]) => user), (user) => make("tr", { role: "row" }, ...COLUMNS.map(([name, title, , show]) =>
      make(name === "user" ? "th" : "td", name === "user" ? { role: "rowheader", scope: "row" } : { role: "cell", "data-label": title },
        ...show(user).filter((one) => one !== null)))), "user");
    byId("matched").textContent = `${count(yes.length, "user")} of ${number(rows.length)}`
      + (filtered ? ` on ${when(scans[scan].scan)} UTC` : "");
    const note = byId("maybe");
    note.hidden = !maybe.length;
    if (maybe.length) {
      fill(note, `Unknown for ${number(maybe.length)} more: they may be, too. `, make("button", { type: "button", "aria-pressed": String(withUnknown),
        onclick: () => { withUnknown = !withUnknown; showUsers(); byId("maybe").querySelector("button")?.focus(); } },
      withUnknown ? "Hide them" : "Show them"));
    }
    byId("nobody").hidden = keyed.length > 0;
    byId("clear").hidden = !filtered && !words.length;
  };

  let waiting = 0;
  wanted.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(showUsers, 80); });
  control.addEventListener("change", () => { showUsers(); });

  // ---- Changes

  const kind = byId("kind");
  const names = [...new Set(data.changes.map((change) => change[1]))].sort();
  for (const name of names) kind.append(make("option", { value: name }, name));
  const KINDS = { created: "good", deleted: "bad", recreated: "warn", renamed: "accent" };
  const known = new Map(users.map((user) => [user.id, user]));
  const titles = new Map(controls.map((one) => [one.name, one.title]));
  const difference = ([name, before, after]) => {
    return make("li", {}, make("code", {}, name), " ", make("del", {}, plain(values[before])), " → ", make("ins", {}, plain(values[after])));
  };
  const changeLine = ([place, what, name, id, , differences, opened, closed], dated) => {
    const user = known.get(id);
    const at = make("span", { class: "since" }, `between ${when(scans[place - 1].scan)} and ${when(scans[place].scan)}`);
    return make("li", { class: "change" }, badge(what, KINDS[what] ?? ""), " ",
      dated ? at : user ? make("button", { type: "button", class: "link name", onclick: () => openUser(user) }, name) : make("b", {}, "root user"),
      differences.length || opened.length || closed.length ? make("ul", { class: "differences" },
        ...differences.map(difference),
        ...opened.map((one) => make("li", {}, "now a finding: ", titles.get(one))),
        ...closed.map((one) => make("li", {}, what === "deleted" ? "no more: " : "no finding any more: ", titles.get(one)))) : null);
  };
  const showChanges = () => {
    const list = byId("timeline");
    fill(list);
    const groups = [];
    for (let place = scans.length - 1; place > 0; place -= 1) {
      const changes = data.changes.filter((one) => one[0] === place && (!kind.value || one[1] === kind.value));
      if (changes.length || (!kind.value && !scans[place].compared)) groups.push([place, changes]);
    }
    byId("no-changes").hidden = groups.length > 0;
    some(list, groups, ([place, changes]) => {
      const one = scans[place];
      const items = make("ul", {});
      const group = make("li", { class: "scan", "data-list": "" }, make("h3", {}, make("time", { datetime: one.scan }, `${when(one.scan)} UTC`), " ",
        pale(`since ${when(scans[place - 1].scan)}`)),
      one.compared ? null : make("p", { class: "warn" }, "The two scans overlap in time: what came first cannot be told."),
      ...one.sections.filter((section) => !section.known).map((section) => make("p", { class: "pale" },
        `${section.line}: what it would tell is compared in the next scan that has it.`)), items);
      some(items, changes, (change) => changeLine(change, false), "change");
      return group;
    }, "scan", 20);
  };
  kind.addEventListener("change", showChanges);

  // ---- One user

  const dialog = byId("user");
  const openUser = (user) => {
    const at = lastSeen(user, scan);
    const isThere = there(user, scan);
    byId("user-name").textContent = nameOf(user, scan);
    const first = user.present[0], last = user.present[user.present.length - 1];
    const spell = first === 0 ? `${when(scans[0].scan)} or earlier` : when(scans[first].scan);
    const row = (name, ...what) => [make("dt", {}, name), make("dd", {}, ...what)];
    const facts = [];
    attributes.forEach(({ name, section, kind: type, meaning }) => {
      if (name === "user_name") return;
      const value = fact(user, name, at);
      const unknown = (section === "authorization" && fact(user, "groups", at) === null)
        || (section === "credential_report" && during(user.knowledge, at) > STALE);
      if (value === null || unknown) {
        if (unknown && ["groups", "mfa_active", "password_enabled"].includes(name))
          facts.push(row(name, badge("unknown", "warn")));
        return;
      }
      const stale = section === "credential_report" && during(user.knowledge, at) === STALE;
      const text = type === "time" ? iso(value) : plain(value);
      facts.push([make("dt", { title: meaning }, name), make("dd", {}, text, stale ? " " : null, stale ? badge("stale", "warn") : null)]);
    });
    const history = data.changes.filter((change) => change[3] === user.id || change[4] === user.id);
    const verdicts = judged.map((one, place) => ({ one, place, is: status(user, place, at) })).sort((a, b) => a.is - b.is);
    fill(byId("user-body"),
      make("p", {}, isThere ? badge(`at ${when(scans[scan].scan)} UTC`, "accent")
        : badge(`not there at ${when(scans[scan].scan)} UTC; shown as last recorded before, or first after`, "warn")),
      make("dl", { class: "facts" }, ...row("user_id", make("code", {}, user.id)).concat(
        row("recorded", `from ${spell} to ${when(scans[last].scan)}`, last === scans.length - 1 ? "" : " (not in the scans after)")), ...facts.flat()),
      make("h3", {}, "Controls"),
      make("ul", { class: "people" }, ...verdicts.map(({ one, place, is }) => make("li", {},
        badge(["finding", "unknown", "no finding"][is], ["bad", "warn", "good"][is]), " ", make("b", {}, one.title), " ",
        make("span", {}, reason(user, place, at)), is === FINDING ? sinceTold(since(user, at, found(place)), "since ") : null))),
      make("h3", {}, "History"),
      make("ul", { class: "history" },
        ...history.slice().reverse().map((change) => changeLine(change, true)),
        make("li", { class: "change" }, badge("first recorded"), " ", make("span", { class: "since" }, spell))));
    dialog.showModal();
    dialog.querySelector(".scroll").scrollTop = 0;
  };
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ---- Print shows everything that was asked for

  let opened = [];
  addEventListener("beforeprint", () => {
    byId("rows").showAll?.();
    opened = [...document.querySelectorAll("details.control")].filter((one) => !one.open && one.hasFinding);
    for (const details of opened) {
      details.open = true;
      details.show();
    }
    for (const list of document.querySelectorAll("details.control .people, #timeline, #timeline ul")) list.showAll?.();
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });

  // ---- Begin

  scans.forEach((one, place) => moment.append(make("option", { value: String(place) }, `${when(one.scan)} UTC`)));
  moment.addEventListener("change", () => choose(Number(moment.value)));
  byId("earlier").addEventListener("click", () => choose(scan - 1));
  byId("later").addEventListener("click", () => choose(scan + 1));
  for (const plot of document.querySelectorAll("svg[data-points]")) {
    const points = plot.dataset.points.split(" ").map(Number);
    plot.addEventListener("click", (event) => {
      const box = plot.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * plot.viewBox.baseVal.width;
      choose(points.reduce((best, point, i) => (Math.abs(point - x) < Math.abs(points[best] - x) ? i : best), 0));
    });
  }
  choose(scans.length - 1);
  showChanges();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
})();
