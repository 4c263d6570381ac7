// A browser and what every page is held to: no error in its console, nothing against its Content-Security-Policy, no
// answer that failed, no request beyond the dashboard.

import assert from 'node:assert/strict';
import path from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

/** The system's Chromium; none is downloaded. */
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: FLAGS });
}

/**
 * A page that remembers what goes wrong on it in `page.wrong`; `page.away` is true while the server is meant to be.
 */
export async function open(browser, base, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.wrong = [];
  page.away = false;
  const wrong = what => { if (!page.away) page.wrong.push(`${new URL(page.url()).pathname}: ${what}`); };
  page.on('console', message => { if (message.type() === 'error') wrong(message.text()); });
  page.on('pageerror', error => wrong(error.message));
  page.on('response', answer => { if (answer.status() >= 400) wrong(`${answer.status()} ${answer.url()}`); });
  page.on('request', request => {
    const url = request.url();
    if (!url.startsWith(`${base}/`) && !url.startsWith('data:')) wrong(`asks elsewhere: ${url}`);
  });
  if (options.javaScriptEnabled !== false) {
    await context.exposeFunction('violated', what => wrong(`against the policy: ${what}`));
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', event => {
        window.violated(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
  }
  return page;
}

/** Nothing went wrong on the page up to now. */
export function clean(page) {
  assert.deepEqual(page.wrong, []);
}

/** Keeps what is shown as it is: a row that something newer pushes down is another one when it is clicked. */
export async function still(page) {
  await page.addInitScript(() => sessionStorage.setItem('paused', '1'));
}

/** Opens an address and waits for its content, not for the stream of changes, which never ends. */
export async function visit(page, address) {
  await page.goto(address, { waitUntil: 'load' });
  await page.locator('h1').first().waitFor();
}

/** The widest that anything reaches beyond the right edge of the window; scrolling boxes may hold more. */
export async function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

/**
 * Opens pages in a theme at every width: nothing reaches beyond the right edge, and none is large. Saves what it saw wide and narrow. A page is
 * loaded once and then drawn at the other widths, from wide to narrow in the light theme and the other way in the dark one.
 */
export async function fits(page, base, folder, pages, colorScheme, { fullPage = false } = {}) {
  const widths = colorScheme === 'dark' ? [400, 768, 1440] : [1440, 768, 400];
  const resize = width => page.setViewportSize({ width, height: width === 400 ? 860 : 1000 });
  for (const [name, address] of Object.entries(pages)) {
    await resize(widths[0]);
    await visit(page, base + address);
    const size = (await page.content()).length;
    assert.ok(size < 200_000, `${name} has ${size} bytes of HTML`);
    for (const width of widths) {
      await resize(width);
      const beyond = await overflow(page);
      assert.ok(beyond <= 0, `${name} reaches ${beyond} px beyond the right edge at ${width} px, ${colorScheme}`);
      // A picture costs more than all else here; what lies between wide and narrow is measured alone.
      if (width === 768) continue;
      await page.screenshot({ path: path.join(folder, `${name}-${colorScheme}-${width}.png`), fullPage });
    }
  }
}

/** Runs named checks one after the other; all are told, and one that fails makes the process fail. */
export async function run(checks) {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}: ${error.stack}`);
    }
  }
  console.log(`checks: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}
