// Icons of buttons, drawn in a square of 24.

const PATHS = {
  play: "M8 5.5v13a.8.8 0 0 0 1.2.7l10.4-6.5a.8.8 0 0 0 0-1.4L9.2 4.8A.8.8 0 0 0 8 5.5z",
  pause: "M7 5h3.4a.6.6 0 0 1 .6.6v12.8a.6.6 0 0 1-.6.6H7a.6.6 0 0 1-.6-.6V5.600A.6.6 0 0 1 7 5zm6.600 0H17a.6.6 0 0 1 .6.6v12.800a.6.6 0 0 1-.6.6h-3.400a.6.6 0 0 1-.6-.6V5.600a.6.6 0 0 1 .6-.6z",
  reset: "M12 5a7 7 0 1 1-6.700 5h2.100A5 5 0 1 0 12 7v2.600a.5.5 0 0 1-.8.4L7 6.600a.5.5 0 0 1 0-.8L11.200 2.400a.5.5 0 0 1 .8.4z",
  theme: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 2v14a7 7 0 0 1 0-14z",
};

/** An icon, as an SVG element that screen readers pass over. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  path.setAttribute("d", PATHS[name]);
  return svg;
}
