// Look at the playground in a browser: `node docs/check_playground.js "http://127.0.0.1:8000/?token=..."`, the address that
// `nnarray playground --no-browser --port 8000` prints. On windows from a phone to a large screen, light and dark, nothing may
// come from another site or fail to load, nothing may be wider than the window, and axe must find no fault of WCAG A and AA.
// Then the page is used by keyboard. With SHOTS=folder, pictures are kept. With PICTURE=docs/images/playground.png, only the
// picture of the documentation is drawn again.
const fs = require("fs"), path = require("path");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const WIDTHS = [390, 768, 1280, 1920], THEMES = ["light", "dark"], LANGUAGES = ["en", "ja"];
const TABS = ["happening", "explain", "inside", "take"];
const RULES = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"], resultTypes: ["violations"] };
const address = new URL(process.argv[2]), found = new Set(), note = (text) => found.add(text);
const soon = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// In the page: what axe finds, and whether the page is wider than its window.
async function faults(rules) {
  const { scrollWidth, clientWidth } = document.documentElement;
  const violations = (await axe.run(document, rules)).violations;
  const texts = violations.map(({ id, nodes }) => `${id}, ${nodes.length} times: ${nodes[0].html.slice(0, 150)}`);
  return scrollWidth > clientWidth ? [...texts, `${scrollWidth} pixels wide in ${clientWidth}`] : texts;
}

async function opened(browser, { width, theme = "light", language = "en" }) {
  const tab = await browser.newPage();
  tab.on("console", (line) => ["error", "warn"].includes(line.type()) && note(`the console says: ${line.text()}`));
  tab.on("pageerror", (error) => note(`a script fails: ${error.message}`));
  tab.on("request", (request) => new URL(request.url()).host === address.host || /^(data|blob):/.test(request.url()) || note(`from another site: ${request.url()}`));
  await tab.setBypassCSP(true); // for axe
  await tab.setViewport({ width, height: 900, hasTouch: width < 500, isMobile: width < 500 });
  await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
  await tab.evaluateOnNewDocument((code) => localStorage.setItem("nnarray-language", code), language);
  await tab.goto(address.href, { waitUntil: "load" });
  await tab.waitForSelector(".neuron");
  return tab;
}

async function look(browser, form) {
  const tab = await opened(browser, form), name = Object.values(form).join("-");
  await tab.evaluate(axe);
  await tab.click(".drive .main");
  await soon(1500);
  await tab.click(".drive .main");
  for (const each of TABS) {
    await tab.$eval(`#tab-${each}`, (button) => button.click());
    await soon(1500);
    for (const fault of await tab.evaluate(faults, RULES)) note(`${name}, ${each}: ${fault}`);
    const shot = path.join(process.env.SHOTS ?? "", `${name}-${each}.png`);
    if (process.env.SHOTS) await tab.screenshot({ path: shot, fullPage: true });
  }
  await tab.close();
}

// By keyboard alone: train and pause, a weight, and the point of which the probabilities are shown.
async function use(browser) {
  const tab = await opened(browser, { width: 1280 }), text = (selector) => tab.$eval(selector, (each) => each.textContent);
  const press = async (selector, ...keys) => {
    await tab.focus(selector);
    for (const key of keys) await tab.keyboard.press(key);
  };
  const wait = (test, ...values) => tab.waitForFunction(test, { timeout: 20000 }, ...values).catch(() => note(`never: ${test} ${values}`));
  await press(".drive .main", "Space");
  await wait(() => Number(document.querySelector(".counter strong").textContent) > 2);
  await press(".drive .main", "Space");
  await wait(() => document.querySelector("#state").textContent.includes("Paused"));
  await press("[data-key=neuron1-0]", "ArrowDown", "Enter");
  await tab.waitForSelector(".editor");
  const weight = ".editor input[type=number]", before = await tab.$eval(weight, (input) => input.value);
  await press(".editor input[type=range]", "ArrowRight", "ArrowRight");
  await wait((selector, value) => document.querySelector(selector).value !== value, weight, before);
  await tab.keyboard.press("Escape");
  if ((await tab.evaluate(() => document.activeElement.dataset.key)) !== "neuron1-1") note("Escape does not lead back to the neuron");
  await press(".plot canvas", "ArrowRight");
  await wait(() => document.querySelectorAll(".readout .bars i").length === 2);
  if (!/\d/.test(await text(".readout"))) note("no probabilities at the point");
  await tab.close();
}

// The picture of the documentation: spirals, while they are learned.
async function draw(browser, file) {
  const tab = await opened(browser, { width: 1280 });
  for (const button of ["[data-kind=spirals]", "#network .head .round:last-child", "[data-key=more2]", "[data-key=more2]", ".drive .main"]) {
    await tab.waitForSelector(button);
    await tab.click(button);
    await soon(500);
  }
  const learned = () => parseFloat(document.querySelectorAll(".figures dd")[2].textContent) > 98;
  await tab.waitForFunction(learned, { timeout: 30000 }).catch(() => null); // else as far as it has come
  await tab.click(".drive .main");
  await soon(1500);
  await tab.screenshot({ path: file, clip: { x: 0, y: 0, width: 1280, height: 900 } });
  await tab.close();
}

async function main() {
  const browser = await require("puppeteer-core").launch({ executablePath: process.env.CHROME, headless: "shell", args: ["--no-sandbox"] });
  if (process.env.PICTURE) {
    await draw(browser, process.env.PICTURE);
    return browser.close();
  }
  for (const width of WIDTHS) for (const theme of THEMES) await look(browser, { width, theme, language: LANGUAGES[THEMES.indexOf(theme)] });
  await use(browser);
  await browser.close();
  for (const fault of found) console.log(fault);
  console.log(`the playground: ${found.size} faults`);
  process.exitCode = found.size ? 1 : 0;
  return undefined;
}

main();
