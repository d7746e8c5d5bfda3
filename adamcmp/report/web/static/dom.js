/* What all other scripts stand on: unpacking of the page's content, elements, numbers as people read them. */

const SVG = "http://www.w3.org/2000/svg";

/** Content that was packed as gzip in base64 into a script element of the page. */
async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** An element with attributes, listeners (on…) and children; strings become text, never markup. */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A number in its unit, with as many decimals as its half width is worth. */
function formatted(value, unit = "", half = null) {
  if (value === null || value === undefined) return "–";
  const percent = unit === "%" || unit === "pp";
  let text;
  if (half > 0) {
    const decimals = Math.max(0, Math.min(1 - Math.floor(Math.log10(half)), percent ? 2 : 6));
    text = `${commas(value.toFixed(decimals))} ± ${commas(half.toFixed(decimals))}`;
  } else {
    text = percent ? value.toFixed(2) : brief(value, 4);
  }
  text = text.replace(/^-/, "−");
  return unit ? `${text} ${unit}` : text;
}

/** A number with so many significant digits, as short as it goes. */
function brief(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e7) return commas(String(Number(value.toPrecision(digits))));
  return value
    .toExponential(digits - 1)
    .replace(/\.?0*e/, "e")
    .replace("e+", "e");
}

/** A number's text with commas between thousands from 10,000 on. */
function commas(text) {
  return text.replace(/^-?\d{5,}/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","));
}

/** Tell assistive technology, and nobody else, what has just happened. */
function say(text) {
  document.getElementById("said").textContent = text;
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "quiet" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

/** A button that copies what a function gives, and says so on itself. */
function copyButton(label, text, what) {
  const button = h("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    await copy(text(), what);
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  });
  return button;
}

const Tip = {
  /** Show children beside a place on the screen. */
  show(children, x, y) {
    const tip = document.getElementById("tip");
    tip.replaceChildren(...children);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const right = x + 16 + width > innerWidth;
    tip.style.left = `${Math.max(4, right ? Math.min(x - width - 16, innerWidth - width - 4) : x + 16)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 16, innerHeight - height - 4))}px`;
  },
  hide() {
    document.getElementById("tip").hidden = true;
  },
};
