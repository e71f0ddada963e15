// Does with a page what it is told, a line of JSON each, and answers each with a line of JSON.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import chromium from "@sparticuz/chromium";
import puppeteer from "puppeteer-core";

const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const executablePath = await chromium.executablePath();
const launch = () => puppeteer.launch({ args: [...chromium.args, "--no-sandbox"], executablePath, headless: "shell" });
const browser = await launch();
let page = null;
let problems = [];

const told = {
  // Opens a page, and notes what it complains of, and what it asks for besides itself.
  async open({ address, width, height, scheme }) {
    await page?.close();
    page = await browser.newPage();
    problems = [];
    page.on("console", (message) => problems.push(message.text()));
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (request) => {
      if (request.url() !== address) problems.push(`asks for ${request.url()}`);
    });
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: scheme },
      { name: "prefers-reduced-motion", value: "reduce" },
    ]);
    const began = performance.now();
    await page.goto(address);
    return performance.now() - began;
  },
  // Opens a page in a browser that has just been started and has seen nothing; returns when it was there, in
  // milliseconds since it was asked for: its script at the end, and what that made on the screen.
  async cold({ address, width, height }) {
    const other = await launch();
    try {
      const [first] = await other.pages();
      await first.setViewport({ width, height });
      await first.goto(address);
      return await first.evaluate(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
        done({ ready: Number(document.documentElement.dataset.ready), painted: performance.now() }))))`);
    } finally {
      await other.close();
    }
  },
  evaluate: ({ code }) => page.evaluate(code),
  problems: () => problems,
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  click: ({ selector }) => page.click(selector),
  choose: ({ selector, value }) => page.select(selector, value),
  media: ({ type }) => page.emulateMediaType(type),
  shot: ({ path, full }) => page.screenshot({ path, fullPage: full }).then(() => path),
  print: ({ path }) => page.pdf({ path, format: "A4" }).then(() => path),
  async axe() {
    await page.evaluate(axe);
    const { violations } = await page.evaluate("axe.run({ resultTypes: ['violations'] })");
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((one) => one.html).join(" | ")}`);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { what, ...how } = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await told[what](how)) ?? null };
  } catch (error) {
    answer = { error: String(error.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
