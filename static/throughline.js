// What makes the pages livelier. Every page works without it: links and forms do the same. Runs before htmx, so that
// nothing that htmx tells is missed.
"use strict";
(() => {
  const root = document.documentElement;
  const byId = id => document.getElementById(id);
  const cookie = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`; };

  // ── Time zone: told to the server once, then the page is asked for again. ──
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== root.dataset.tz) {
    cookie("tz", encodeURIComponent(zone));
    if (!("tzTold" in root.dataset) && zone !== "UTC" && !sessionStorage.getItem("tz-asked")) {
      sessionStorage.setItem("tz-asked", "1");
      location.reload();
      return;
    }
  }

  // ── Theme: as the system has it, light, dark. ──
  const themes = ["", "light", "dark"];
  const themeSwitch = byId("theme-switch");
  const nameTheme = () => {
    const theme = root.dataset.theme || "";
    themeSwitch.ariaLabel = `Theme: ${theme || "as the system has it"}`;
    themeSwitch.title = themeSwitch.ariaLabel;
  };
  if (themeSwitch) {
    themeSwitch.hidden = false;
    nameTheme();
    themeSwitch.addEventListener("click", () => {
      const next = themes[(themes.indexOf(root.dataset.theme || "") + 1) % themes.length];
      if (next) root.dataset.theme = next; else delete root.dataset.theme;
      cookie("theme", next);
      nameTheme();
    });
  }

  // ── Menus close when one looks elsewhere. ──
  document.addEventListener("click", event => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  // ── A short word at the foot of the page. ──
  let toastTimer;
  const toast = words => {
    let box = byId("toast");
    if (!box) {
      box = document.createElement("p");
      box.id = "toast";
      box.className = "toast";
      box.role = "status";
      document.body.append(box);
    }
    box.textContent = words;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => box.remove(), 2500);
  };

  // ── Copy: the text of what data-copy names, or of the attribute itself. ──
  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    event.preventDefault();
    const from = button.dataset.copyFrom && byId(button.dataset.copyFrom);
    try {
      await navigator.clipboard.writeText(from ? from.innerText : button.dataset.copy);
      toast("Copied");
    } catch {
      toast("The browser does not allow copying here");
    }
  });

  // ── Live: ask for the page again when something has come; not while somebody is at work in it. ──
  const live = byId("live");
  const liveSwitch = byId("live-switch");
  let paused = sessionStorage.getItem("paused") === "1";
  let seen = live?.dataset.seen;
  let waiting = 0;
  let away = false;
  const nameLive = () => {
    if (!liveSwitch) return;
    liveSwitch.hidden = false;
    liveSwitch.ariaPressed = String(!paused && !away);
    liveSwitch.lastElementChild.textContent = away ? "Reconnecting" : paused ? "Paused" : "Live";
  };
  const busy = () => document.hidden || paused || getSelection()?.type === "Range"
    || document.querySelector("details.menu[open], dialog[open]")
    || document.activeElement?.matches?.("main input, main select, main textarea");
  const refresh = () => {
    if (!window.htmx) return;
    for (const part of document.querySelectorAll("[hx-trigger='refresh']")) htmx.trigger(part, "refresh");
  };
  // The session is over: the page, asked for again, is the login.
  const again = status => { if (status === 401) location.reload(); };
  document.addEventListener("htmx:response:error", event => again(event.detail.ctx?.response?.status));
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => busy() ? soon() : refresh(), 400);
  };
  if (live) {
    nameLive();
    live.addEventListener("changed", event => {
      if (event.detail.data !== seen) { seen = event.detail.data; soon(); }
    });
    live.addEventListener("htmx:sse:after:connection", () => { away = false; nameLive(); });
    live.addEventListener("htmx:sse:error", event => again(event.detail.status));
    for (const trouble of ["htmx:sse:error", "htmx:sse:close", "htmx:error"]) {
      live.addEventListener(trouble, () => { away = !document.hidden; nameLive(); });
    }
    live.addEventListener("htmx:sse:before:connection", event => {
      if (event.detail.connection?.attempt > 0 && !document.hidden) { away = true; nameLive(); }
    });
    liveSwitch?.addEventListener("click", () => {
      paused = !paused;
      sessionStorage.setItem("paused", paused ? "1" : "0");
      nameLive();
      if (!paused) soon();
    });
  }

  // ── The map: where one had scrolled to stays when something is opened, and what is opened is in sight. Where it is
  // higher than its frame it begins at its first node. ──
  const map = document.querySelector(".map");
  if (map) {
    const into = node => {
      const [one, around] = [node.getBoundingClientRect(), map.getBoundingClientRect()];
      if (one.left < around.left || one.right > around.right) {
        map.scrollLeft += one.left + one.width / 2 - around.left - around.width / 2;
      }
      if (one.top < around.top || one.bottom > around.bottom) {
        map.scrollTop += one.top + one.height / 2 - around.top - around.height / 2;
      }
    };
    const kept = sessionStorage.getItem("map-at")?.split(" ").map(Number);
    if (kept) {
      [map.scrollLeft, map.scrollTop] = kept;
    } else {
      const left = node => node.getBoundingClientRect().left;
      const nodes = [...map.querySelectorAll("a.node")];
      const first = nodes.length && nodes.reduce((first, node) => left(node) < left(first) ? node : first);
      if (first) map.scrollTop += first.getBoundingClientRect().top - map.getBoundingClientRect().top - map.clientHeight / 2;
    }
    const chosen = map.querySelector(".on");
    if (chosen) into(chosen);
    map.addEventListener("scroll", () => {
      sessionStorage.setItem("map-at", `${map.scrollLeft} ${map.scrollTop}`);
    }, { passive: true });
  }

  // ── The query line: what can stand where the cursor is, from the server. ──
  const line = document.querySelector("[data-complete]");
  if (line) {
    const list = document.createElement("ul");
    Object.assign(list, { id: "completions", className: "completions", role: "listbox", hidden: true });
    list.ariaLabel = "Completions";
    line.after(list);
    line.setAttribute("role", "combobox");
    line.setAttribute("aria-controls", list.id);
    line.setAttribute("aria-autocomplete", "list");
    let span = [0, 0], shownFor, chosen = -1, timer, asked = 0;
    const close = () => {
      clearTimeout(timer);
      asked += 1;
      list.hidden = true;
      line.ariaExpanded = "false";
      line.removeAttribute("aria-activedescendant");
    };
    const choose = at => {
      chosen = (at + list.children.length) % list.children.length;
      [...list.children].forEach((item, index) => { item.ariaSelected = String(index === chosen); });
      line.setAttribute("aria-activedescendant", list.children[chosen].id);
      list.children[chosen].scrollIntoView({ block: "nearest" });
    };
    const take = () => {
      // Typed on since: what is shown is for another word.
      if (line.value !== shownFor) return;
      const [before, after] = [[...line.value].slice(0, span[0]).join(""), [...line.value].slice(span[1]).join("")];
      const head = `${before}${list.children[chosen].textContent} `;
      line.value = head + after.trimStart();
      line.setSelectionRange(head.length, head.length);
      close();
      ask();
    };
    const show = found => {
      span = [found.from, found.to];
      shownFor = line.value;
      list.replaceChildren(...found.items.map((text, index) => Object.assign(document.createElement("li"),
        { textContent: text, role: "option", id: `completion-${index}`, ariaSelected: "false" })));
      chosen = -1;
      list.hidden = !found.items.length;
      line.ariaExpanded = String(!list.hidden);
    };
    const ask = () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const number = asked += 1;
        const at = [...line.value.slice(0, line.selectionStart)].length;
        const query = new URLSearchParams({ line: line.value, at });
        try {
          const answer = await fetch(`${line.dataset.complete}?${query}`);
          if (answer.ok && number === asked && document.activeElement === line) show(await answer.json());
        } catch { /* Without the server there is nothing to complete from. */ }
      }, 120);
    };
    line.addEventListener("input", ask);
    line.addEventListener("click", ask);
    line.addEventListener("blur", close);
    list.addEventListener("mousedown", event => {
      event.preventDefault();
      chosen = [...list.children].indexOf(event.target.closest("li"));
      if (chosen >= 0) take();
    });
    line.addEventListener("keydown", event => {
      if (list.hidden) { if (event.key === "ArrowDown") ask(); return; }
      const act = {
        ArrowDown: () => choose(chosen + 1),
        ArrowUp: () => choose(chosen < 0 ? -1 : chosen - 1),
        Tab: () => { if (chosen < 0) choose(0); take(); },
        Enter: chosen >= 0 ? take : undefined,
        Escape: close,
      }[event.key];
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act();
    });
  }

  // ── Keys. ──
  const rows = () => [...document.querySelectorAll("main [data-row], main .t tbody tr")].filter(row => row.querySelector("a"));
  let current = -1;
  const select = (list, at) => {
    if (at < 0 || at >= list.length) return;
    list[current]?.classList.remove("cursor");
    current = at;
    list[at].classList.add("cursor");
    (list[at].querySelector("a.op") || list[at].querySelector("a")).focus({ preventScroll: true });
    list[at].scrollIntoView({ block: "nearest" });
  };
  const step = by => {
    const list = rows();
    const focused = list.findIndex(row => row.contains(document.activeElement));
    const chosen = list.findIndex(row => row.ariaSelected === "true");
    const from = focused >= 0 ? focused : current >= 0 ? current : chosen >= 0 ? chosen : by > 0 ? -1 : list.length;
    select(list, from + by);
  };
  const stepError = by => {
    const list = rows();
    const from = list.findIndex(row => row.contains(document.activeElement));
    for (let at = from + by; at >= 0 && at < list.length; at += by) {
      if (list[at].matches("[data-failed]")) return select(list, at);
    }
    toast(by > 0 ? "No further error on this page" : "No earlier error on this page");
  };
  const follow = selector => { const link = document.querySelector(selector); if (link) link.click(); return Boolean(link); };
  const inRow = selector => document.activeElement?.closest("tr")?.querySelector(selector)?.click();
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") {
      const menu = document.querySelector("details.menu[open]");
      if (menu) { menu.open = false; menu.querySelector("summary").focus(); return; }
      if (typing) { event.target.blur(); return; }
      if (document.querySelector("dialog[open]")) return;
      follow("[data-key=Escape]");
      return;
    }
    if (typing) return;
    const act = {
      "/": () => byId("search")?.select() ?? byId("search")?.focus(),
      j: () => step(1), k: () => step(-1),
      n: () => stepError(1), p: () => stepError(-1),
      c: () => follow("[data-key=c]"),
      ArrowLeft: () => inRow(".tw[aria-label^=Collapse]"),
      ArrowRight: () => inRow(".tw[aria-label^=Expand]"),
      "?": () => byId("keys")?.showModal(),
    }[event.key];
    if (!act) return;
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") event.preventDefault();
    act();
  });

  // ── Drag over a chart or the minimap: narrows the time range, or what is drawn of a trace. ──
  document.addEventListener("pointerdown", event => {
    const chart = event.target.closest("[data-drag]");
    if (!chart || event.button !== 0 || event.target.closest("a")) return;
    const box = chart.getBoundingClientRect();
    const share = at => Math.min(1, Math.max(0, (at.clientX - box.left) / box.width));
    const start = share(event);
    let mark;
    const move = at => {
      if (!mark) {
        if (Math.abs(share(at) - start) < 0.005) return;
        mark = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        mark.setAttribute("class", "drag");
        mark.setAttribute("y", "0");
        mark.setAttribute("height", "100%");
        chart.append(mark);
      }
      mark.setAttribute("x", `${100 * Math.min(start, share(at))}%`);
      mark.setAttribute("width", `${100 * Math.abs(share(at) - start)}%`);
    };
    const done = at => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", done);
      if (!mark) return;
      mark.remove();
      const [from, to] = [start, share(at)].sort((a, b) => a - b);
      const address = new URL(location.href);
      if (chart.dataset.drag === "time") {
        const begin = Number(chart.dataset.from), end = Number(chart.dataset.to);
        const moment = part => new Date(begin + (end - begin) * part).toISOString();
        for (const key of ["last", "after"]) address.searchParams.delete(key);
        address.searchParams.set("from", moment(from));
        address.searchParams.set("to", moment(to));
      } else {
        const begin = Number(chart.dataset.from), end = Number(chart.dataset.to);
        address.searchParams.set("zoom", `${Math.round(begin + (end - begin) * from)}-${Math.round(begin + (end - begin) * to)}`);
      }
      location.assign(address);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", done);
    event.preventDefault();
  });
})();
