// Look at a built site in a browser: `node docs/check_pages.js docs/_build/html`, or with the names of some pages after it.
// Each page is drawn light and dark, on a desktop and on a phone. Nothing may fail to load or come from another site, no
// page may be wider than its window, and axe must find no fault of WCAG A and AA. With SHOTS=folder, pictures are kept.
const fs = require("fs"), os = require("os"), path = require("path"), { pathToFileURL } = require("url");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const FORMS = [
  { name: "desktop-light", theme: "light", width: 1280, height: 800 },
  { name: "desktop-dark", theme: "dark", width: 1280, height: 800 },
  { name: "phone-light", theme: "light", width: 390, height: 844 },
  { name: "phone-dark", theme: "dark", width: 390, height: 844 },
];
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"], preload: false };

const folder = path.resolve(process.argv[2]), shots = process.env.SHOTS;
const named = process.argv.slice(3).map((name) => (name.endsWith(".html") ? name : `${name}.html`));
const pages = named.length ? named : fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".html")).sort();

// In the page: what axe finds, and what makes the page wider than its window.
async function faults(rules) {
  const found = (await axe.run(document, rules)).violations.map(
    ({ id, nodes }) => `${id}, ${nodes.length} times: ${nodes[0].html.slice(0, 150)}`,
  );
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return found;
  const scrolls = (each) => each && each !== document.body && (getComputedStyle(each).overflowX !== "visible" || scrolls(each.parentElement));
  const wide = [...document.querySelectorAll("article *")].find(
    (each) => each.getBoundingClientRect().right > clientWidth + 1 && !scrolls(each.parentElement),
  );
  return [...found, `${scrollWidth} pixels wide in ${clientWidth}: ${wide?.outerHTML.slice(0, 150)}`];
}

async function check(browser, name) {
  const tab = await browser.newPage(), found = new Set(), note = (text) => found.add(text);
  tab.on("console", (line) => ["error", "warn"].includes(line.type()) && note(`the console says: ${line.text()}`));
  tab.on("pageerror", (error) => note(`a script fails: ${error.message}`));
  tab.on("requestfailed", (request) => note(`does not load: ${request.url()}`));
  tab.on("request", (request) => /^(file|data|blob):/.test(request.url()) || note(`from another site: ${request.url()}`));
  await tab.goto(pathToFileURL(path.join(folder, name)).href, { waitUntil: "load" });
  await tab.evaluate(axe);
  for (const form of FORMS) {
    await tab.setViewport({ width: form.width, height: form.height });
    await tab.evaluate((theme) => (document.body.dataset.theme = theme), form.theme);
    for (const fault of await tab.evaluate(faults, RULES)) note(`${form.name}: ${fault}`);
    const shot = path.join(shots ?? "", `${name.replaceAll("/", "-")}-${form.name}.png`);
    if (shots) await tab.screenshot({ path: shot, fullPage: true });
  }
  await tab.close();
  for (const fault of found) console.log(`${name}: ${fault}`);
  return found.size;
}

async function main() {
  const browser = await require("puppeteer-core").launch({ executablePath: process.env.CHROME, headless: "shell", args: ["--no-sandbox"] });
  const queue = [...pages], workers = Array.from({ length: Math.min(4, os.cpus().length) }, async () => {
    let faults = 0;
    for (let name; (name = queue.shift()); ) faults += await check(browser, name);
    return faults;
  });
  const faults = (await Promise.all(workers)).reduce((a, b) => a + b);
  await browser.close();
  console.log(`${pages.length} pages, ${faults} faults`);
  process.exitCode = faults ? 1 : 0;
}

main();
