/* Charts in SVG: lines with bands and bars, and dots with intervals. Scales, axes and shapes are d3's. */

const SHAPES = {
  o: d3.symbolCircle,
  s: d3.symbolSquare,
  "^": d3.symbolTriangle,
  D: d3.symbolDiamond,
  v: d3.symbolTriangle,
  P: d3.symbolCross,
  X: d3.symbolTimes,
  h: d3.symbolStar,
};

function marker(x, y, { colour, shape = "o" }, size = 44) {
  const turned = shape === "v" ? " rotate(180)" : "";
  const path = d3.symbol(SHAPES[shape] ?? d3.symbolCircle, size)();
  const hollow = shape === "X";
  return s("path", {
    d: path,
    transform: `translate(${x},${y})${turned}`,
    fill: hollow ? "none" : colour,
    stroke: hollow ? colour : null,
    "stroke-width": hollow ? 2 : null,
  });
}

/** A frame with axes in an SVG element of the page, whose height stays; null where there is nothing to show. */
function frame(svg, { x, y }) {
  const [left, right, top, bottom] = [56, 14, 8, 44];
  const { width, height } = emptied(svg);
  const sx = scaled(x, [left, width - right]);
  const sy = scaled(y, [height - bottom, top]);
  if (!y.log) sy.nice();
  const ticks = Math.max(3, Math.floor((width - left - right) / 90));
  const below = axis(d3.axisBottom(sx), sx, x.log, ticks);
  const beside = axis(d3.axisLeft(sy), sy, y.log, Math.max(3, Math.floor(height / 60)));
  svg.append(
    s("g", { class: "x", transform: `translate(0,${height - bottom})` }),
    s("g", { class: "y", transform: `translate(${left},0)` }),
  );
  d3.select(svg.querySelector(".x")).call(below);
  d3.select(svg.querySelector(".y")).call(beside);
  for (const tick of sy.ticks(5))
    svg.prepend(s("line", { class: "rule", x1: left, x2: width - right, y1: sy(tick), y2: sy(tick) }));
  svg.append(
    s("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, x.label),
    s(
      "text",
      { transform: `translate(13,${(top + height - bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      y.label,
    ),
  );
  return { sx, sy };
}

/** An axis with some so many ticks; on a logarithmic one at powers of ten, or at 1, 2 and 5 times them. */
function axis(drawn, scale, log, count) {
  drawn.tickSizeOuter(0);
  if (!log) return drawn.ticks(count);
  const all = scale.ticks();
  const leads = (digits) => all.filter((tick) => digits.includes(Number(tick.toExponential(6).split("e")[0])));
  const chosen = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]]
    .map(leads)
    .find((ticks) => ticks.length <= count && ticks.length > 1);
  return drawn.tickValues(chosen ?? leads([1])).tickFormat((value) => brief(value, 2));
}

/** An SVG element without its drawing, and its size; on narrower paper the next drawing becomes smaller as a whole. */
function emptied(svg) {
  svg.replaceChildren();
  const width = Math.max(svg.clientWidth || svg.parentElement.clientWidth, 240);
  const height = Number(svg.getAttribute("height"));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "xMinYMin");
  return { width, height };
}

function scaled({ domain, log }, range) {
  return log ? d3.scaleLog(domain, range) : d3.scaleLinear(domain, range);
}

function extent(values, log = false) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values)
    if (value !== null && value !== undefined) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (low < high) return [low, high];
  return log ? [low / 2, low * 2] : [low - 0.5, low + 0.5];
}

/** Lines, of which each has x, y, and maybe a band (low, high), bars (half), markers; bold ones answer to the pointer. */
function lineChart(svg, { lines, x, y }) {
  if (!lines.length) {
    emptied(svg);
    svg.append(s("text", { class: "empty", x: 12, y: 28 }, "No trial is selected."));
    return;
  }
  const across = extent(
    lines.flatMap((line) => line.x),
    x.log,
  );
  if (!x.log && lines.every((line) => line.x.length === 1)) across[0] = 0; // measured once, at the end
  const positive = (value) => value !== null && (!y.log || value > 0);
  const { sx, sy } = frame(svg, {
    x: { ...x, domain: across },
    y: {
      ...y,
      domain: extent(lines.flatMap((line) => [...line.y, ...(line.low ?? []), ...(line.high ?? [])].filter(positive))),
    },
  });
  const [bottom, top] = [sy.range()[0], sy.range()[1]];
  const inside = (value) => Math.max(top, Math.min(bottom, sy(value)));
  const points = [];
  for (const line of lines) {
    const drawable = line.x.map((_, i) => i).filter((i) => positive(line.y[i]));
    if (line.low) {
      const band = d3.area(
        (i) => sx(line.x[i]),
        (i) => inside(line.low[i]),
        (i) => inside(line.high[i]),
      );
      svg.append(
        s("path", { d: band(drawable.filter((i) => positive(line.low[i]))), fill: line.colour, opacity: 0.15 }),
      );
    }
    svg.append(
      s("path", {
        d: d3.line(
          (i) => sx(line.x[i]),
          (i) => sy(line.y[i]),
        )(drawable),
        fill: "none",
        stroke: line.colour,
        "stroke-width": line.thin ? 0.8 : 2.2,
        opacity: line.thin ? 0.45 : 1,
        "stroke-dasharray": line.dash || null,
        "stroke-linejoin": "round",
      }),
    );
    for (const i of line.thin ? [] : drawable) {
      const half = line.half?.[i];
      if (half) {
        const ends = [inside(line.y[i] - half), inside(line.y[i] + half)];
        svg.append(s("line", { x1: sx(line.x[i]), x2: sx(line.x[i]), y1: ends[0], y2: ends[1], stroke: line.colour }));
      }
      if (line.shape && drawable.length <= 40) svg.append(marker(sx(line.x[i]), sy(line.y[i]), line, 36));
      points.push({ line, i, px: sx(line.x[i]), py: sy(line.y[i]) });
    }
  }
  const dot = s("circle", { r: 5, fill: "none", stroke: "currentColor", "stroke-width": 2, visibility: "hidden" });
  svg.append(dot);
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null;
    let distance = 60 ** 2;
    for (const point of points) {
      const away = (point.px - px) ** 2 + (point.py - py) ** 2;
      if (away < distance) [nearest, distance] = [point, away];
    }
    dot.setAttribute("visibility", nearest ? "visible" : "hidden");
    if (!nearest) return Tip.hide();
    const { line, i } = nearest;
    dot.setAttribute("cx", nearest.px);
    dot.setAttribute("cy", nearest.py);
    const value = formatted(line.y[i], y.unit, line.half?.[i]);
    const band = line.low ? `, ${brief(line.low[i], 4)} to ${brief(line.high[i], 4)}` : "";
    return Tip.show(
      [h("strong", {}, line.name), `${x.label} ${brief(line.x[i], 4)}: ${value}${band}`],
      event.clientX,
      event.clientY,
    );
  };
  svg.onpointerleave = () => {
    dot.setAttribute("visibility", "hidden");
    Tip.hide();
  };
}

/** A label that ends at a place: on one line, or on two smaller ones where it is that of a pair and long. */
function labels(text, x, y) {
  const fitted = (part, room) => (part.length > room ? `${part.slice(0, Math.max(room - 1, 4))}…` : part);
  const line = (part, at, size) => s("text", { x, y: at, "text-anchor": "end", class: size }, part);
  const [room, small] = [Math.floor((x - 2) / 6.4), Math.floor((x - 2) / 5.2)];
  const [first, second] = text.split(" − ");
  if (text.length <= room || !second) return [line(fitted(text, room), y + 4)];
  return [line(`${fitted(first, small - 2)} −`, y - 1, "small"), line(fitted(second, small), y + 9, "small")];
}

/** Dots with intervals, one a row: `inner` thick, `outer` thin; labels on the left, broken where they are long. */
function intervalChart(svg, { rows, label, unit = "", zero = false, margin = null, clip = null }) {
  const { width } = emptied(svg);
  const step = 22;
  if (!rows.length) {
    svg.append(s("text", { class: "empty", x: 12, y: 28 }, "There is nothing to show."));
    return;
  }
  const longest = Math.max(...rows.map((row) => row.label.length));
  const left = Math.min(longest * 6.6 + 14, width * 0.5);
  const right = width - 14;
  const ends = rows.flatMap((row) => [...(row.outer ?? []), ...(row.inner ?? []), row.value]);
  if (zero) ends.push(0);
  const reach = extent(ends);
  const domain = clip ? [Math.max(reach[0], clip[0]), Math.min(reach[1], clip[1])] : reach;
  const sx = d3.scaleLinear(domain, [left, right]).clamp(true).nice();
  const height = step * rows.length + 14;
  if (margin) {
    const [from, to] = [Math.max(sx(-margin), left), Math.min(sx(margin), right)];
    svg.append(s("rect", { class: "margin", x: from, width: Math.max(to - from, 0), y: 0, height }));
  }
  if (zero) svg.append(s("line", { class: "zero", x1: sx(0), x2: sx(0), y1: 0, y2: height }));
  svg.append(s("g", { class: "x", transform: `translate(0,${height})` }));
  d3.select(svg.lastChild).call(
    d3
      .axisBottom(sx)
      .ticks(Math.max(3, Math.floor((right - left) / 70)))
      .tickSizeOuter(0),
  );
  svg.append(s("text", { x: (left + right) / 2, y: height + 38, "text-anchor": "middle" }, label));
  rows.forEach((row, i) => {
    const y = step * i + step / 2 + 6;
    const group = s("g", {}, s("rect", { x: 0, width, y: y - step / 2, height: step, fill: "transparent" }));
    group.append(...labels(row.label, left - 8, y));
    for (const [interval, thick] of [
      [row.outer, 1.2],
      [row.inner, 3.4],
    ])
      if (interval && interval[0] !== null && interval[1] !== null)
        group.append(
          s("line", {
            x1: sx(interval[0]),
            x2: sx(interval[1]),
            y1: y,
            y2: y,
            stroke: row.colour,
            "stroke-width": thick,
          }),
        );
    group.append(marker(sx(row.value), y, row, 60));
    const ends = (interval) => `${brief(interval[0], 4)} to ${brief(interval[1], 4)}`;
    group.addEventListener("pointermove", (event) => {
      const lines = [
        h("strong", {}, row.label),
        h("div", {}, `${formatted(row.value, unit)}${row.note ? ` (${row.note})` : ""}`),
      ];
      if (row.inner) lines.push(h("div", {}, `95 % interval${row.outer ? " over seeds" : ""}: ${ends(row.inner)}`));
      if (row.outer) lines.push(h("div", {}, `with test examples and selection: ${ends(row.outer)}`));
      Tip.show(lines, event.clientX, event.clientY);
    });
    group.addEventListener("pointerleave", Tip.hide);
    svg.append(group);
  });
}
