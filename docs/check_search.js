// Check the search of a built site: `node docs/check_search.js docs/_build/html` asks ten things, by the site's own script.
// The page that answers must be among the first three.
const fs = require("fs"), path = require("path"), vm = require("vm");

const WANTED = {
  sigmoid: "reference/activation/logistic",
  ReLU: "reference/activation/relu",
  overfitting: "howto/training",
  csv: "howto/commandline",
  "data loader": "howto/data",
  softmax: "reference/activation/softmax",
  momentum: "reference/class/nnarray.SGD",
  GPU: "howto/gpu",
  "save model": "howto/files",
  "confusion matrix": "reference/function/nnarray.metrics.confusion_matrix",
  linear: "reference/class/nnarray.Dense",
  "cross-entropy": "reference/class/nnarray.losses.CrossEntropy",
};

const folder = process.argv[2];
const page = { readyState: "loading", addEventListener: () => {}, documentElement: { dataset: {} }, getElementById: () => null };
const site = vm.createContext({ ...page, document: page, URLSearchParams, SPHINX_HIGHLIGHT_ENABLED: false });
site.window = site;
for (const file of ["_static/doctools.js", "_static/language_data.js", "_static/searchtools.js", "searchindex.js"])
  vm.runInContext(fs.readFileSync(path.join(folder, file), "utf8"), site);
site.wanted = WANTED;
const found = JSON.parse(vm.runInContext(`JSON.stringify(Object.fromEntries(Object.keys(wanted).map((query) =>
  [query, Search._performSearch(...Search._parseQuery(query)).map((each) => each[0])])))`, site));
for (const [query, pages] of Object.entries(found)) {
  const first = [...new Set(pages.reverse())].slice(0, 3); // the best comes last
  if (!first.includes(WANTED[query])) process.exitCode = 1;
  console.log(`${first.includes(WANTED[query]) ? "ok   " : "WRONG"} ${query}: ${first.join(", ")}`);
}
