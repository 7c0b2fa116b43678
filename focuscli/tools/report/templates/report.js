"use strict";
// The page is complete without this. It lets a reader move the threshold; all numbers come from counts in the page.
for (const box of document.querySelectorAll("[data-curves]")) {
  const views = JSON.parse(box.querySelector("script").textContent);
  const sources = JSON.parse(box.querySelector("template[data-sources]").content.textContent);
  const [select, slider, svg] = ["select", "input", "svg"].map((name) => box.querySelector(name));
  const jumps = box.querySelector(".jumps");
  const what = box.querySelector("[data-what]");
  const aboutAll = what.textContent;
  const [left, top, wide, high, low, end] = svg.dataset.plot.split(" ").map(Number);
  const across = (t) => left + (wide * (Math.min(end, Math.max(low, t)) - low)) / (end - low);
  const short = { val: "val", global: "global, from val", oracle: "oracle, optimistic" };
  let view = null;

  function figures(at) {
    if (view.figures) return Object.fromEntries(Object.entries(view.figures).map(([key, values]) => [key, values[at]]));
    const hits = view.hits[at], wrong = view.false[at], claimed = hits + wrong;
    const recall = view.positives ? hits / view.positives : null;
    const specificity = view.negatives ? 1 - wrong / view.negatives : null;
    return {
      precision: claimed ? hits / claimed : 0,
      recall,
      mA: recall === null || specificity === null ? null : (recall + specificity) / 2,
      F1: view.positives ? (2 * hits) / (view.positives + claimed) : null,
    };
  }

  function say(name, text) {
    const cell = box.querySelector(`[data-out=${name}]`);
    cell.textContent = text;
    return cell;
  }

  function move() {
    const at = Number(slider.value), row = figures(at), t = view.t[at];
    const found = Object.keys(view.marks).filter((name) => view.marks[name] === at);
    svg.querySelector(".cursor").setAttribute("d", `M${across(t).toFixed(1)} ${top}v${high}`);
    say("threshold", t.toFixed(3).replace("-", "−"));
    say("source", found.length ? found.map((name) => sources[name]).join("; ") : "this slider: chosen on these images, optimistic")
      .classList.toggle("optimistic", !found.some((name) => name !== "oracle"));
    for (const key of ["precision", "recall", "mA", "F1"]) say(key, row[key] === null ? "–" : (100 * row[key]).toFixed(2));
    slider.setAttribute("aria-valuetext", `threshold ${t.toFixed(3)}`);
  }

  function show(index) {
    view = views[index];
    const rows = view.t.map((_, at) => figures(at));
    for (const line of svg.querySelectorAll("[data-series]")) {
      let path = "", pen = "M";
      rows.forEach((row, at) => {
        // A precision of nothing counts as 0 in figures; as a line it would be a cliff that is not there.
        const empty = line.dataset.series === "precision" && view.hits && !(view.hits[at] + view.false[at]);
        const value = empty ? null : row[line.dataset.series];
        if (value === null) { pen = "M"; return; }
        path += `${pen}${across(view.t[at]).toFixed(1)} ${(top + high * (1 - value)).toFixed(1)}`;
        pen = "L";
      });
      line.setAttribute("d", path);
    }
    svg.querySelectorAll(".mark").forEach((mark) => mark.remove());
    jumps.replaceChildren();
    let last = [-Infinity, 0];
    for (const [name, at] of Object.entries(view.marks).sort((a, b) => a[1] - b[1])) {
      const x = across(view.t[at]);
      const mark = svg.appendChild(document.createElementNS(svg.namespaceURI, "g"));
      mark.setAttribute("class", "mark");
      mark.dataset.mark = name;
      const line = mark.appendChild(document.createElementNS(svg.namespaceURI, "path"));
      line.setAttribute("d", `M${x.toFixed(1)} ${top}v${high}`);
      const text = mark.appendChild(document.createElementNS(svg.namespaceURI, "text"));
      text.textContent = view.figures ? short[name] : name;
      // Names of neighbouring marks stand on two lines in turn, so that they do not cover each other.
      const line2 = x - last[0] < 46 && last[1] === 0 ? 1 : 0;
      last = [x, line2];
      text.setAttribute("x", x.toFixed(1));
      text.setAttribute("y", top - 4 - 11 * line2);
      text.setAttribute("text-anchor", x > left + wide * 0.85 ? "end" : x < left + wide * 0.15 ? "start" : "middle");
      const jump = jumps.appendChild(document.createElement("button"));
      jump.type = "button";
      jump.textContent = short[name];
      jump.addEventListener("click", () => { slider.value = at; move(); });
    }
    svg.appendChild(svg.querySelector(".cursor"));
    what.textContent = view.name
      ? `${view.name}: percent against its threshold; precision and recall of this attribute, ${view.positives} of ${view.positives + view.negatives} images positive.`
      : aboutAll;
    slider.max = view.t.length - 1;
    slider.value = view.marks.val ?? view.marks.global;
    move();
  }

  const groups = new Map();
  views.forEach((item, index) => {
    const option = new Option(item.name || "all, one threshold", index);
    if (!item.region) { select.append(option); return; }
    if (!groups.has(item.region)) {
      const group = document.createElement("optgroup");
      group.label = item.region;
      groups.set(item.region, select.appendChild(group));
    }
    groups.get(item.region).append(option);
  });
  select.addEventListener("change", () => show(Number(select.value)));
  slider.addEventListener("input", move);
  select.closest("label").hidden = views.length < 2;
  box.querySelector(".controls").hidden = false;
  show(0);
}
