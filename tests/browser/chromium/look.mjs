// Opens a page and prints, as JSON, what a person would see of it.
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const [address, width] = process.argv.slice(2);
const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox"],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
try {
  const page = await browser.newPage();
  await page.setViewport({ width: Number(width), height: 900 });
  const problems = [];
  page.on("console", (message) => problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("request", (request) => {
    if (request.url() !== address) problems.push(`asks for ${request.url()}`);
  });
  await page.goto(address);
  const seen = await page.evaluate(() => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const box = (element) => element.getBoundingClientRect();
    return {
      title: document.title,
      text: document.body.innerText,
      visits: Object.fromEntries(all("#graph .state").map((one) => [one.dataset.state, Number(one.dataset.visits)])),
      taken: all("#graph .edge.taken").map((one) => `${one.dataset.from} → ${one.dataset.to}`),
      bars: all("#timeline .bar").map((one) => [box(one).left, box(one).right]),
      rows: all("#timeline .bar").map((one) => one.getAttribute("y")),
      letters: all("svg text").map((one) => box(one).height),
      cells: all("td").map((one) => box(one).height / parseFloat(getComputedStyle(one).lineHeight)),
      graph: all("#graph").map((one) => [box(one).width, box(one).height])[0],
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      injected: all("script, img").length,
    };
  });
  console.log(JSON.stringify({ ...seen, problems }));
} finally {
  await browser.close();
}
