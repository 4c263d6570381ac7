// Looks at the pages of breakers, with breakers in every state.
//
//   node breakers.mjs BASE FOLDER

import assert from 'node:assert/strict';
import { clean, fits, launch, open, run, still, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
const browser = await launch();
const one = '/breakers/one?service=orders&name=payments&library=convention';
const pages = { breakers: '/breakers', breaker: one, 'breakers-none': '/breakers?from=2020-01-01T00:00&to=2020-01-01T01:00', 'overview-open': '/' };

await run({
  async 'every page fits every width, light and dark, without an error'() {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, base, { colorScheme });
      await fits(page, base, folder, pages, colorScheme, { fullPage: true });
      clean(page);
      await page.context().close();
    }
  },

  async 'what is open comes first, and two clicks lead from the Overview to the call that tripped it'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/`);
    await page.locator('main tr', { hasText: 'Breaker' }).getByRole('link', { name: 'payments' }).click();
    await page.waitForURL(/\/breakers\/one/);
    assert.match(await page.locator('h1').innerText(), /payments is open in 3 of 10 instances of orders/);
    await page.locator('main').getByRole('link', { name: 'timed out' }).click();
    await page.waitForURL(/\/traces\/[0-9a-f]{32}\?.*span=/);
    clean(page);
    await page.context().close();
  },

  async 'a state has a word and a shape, and the strip draws it'() {
    const page = await open(browser, base);
    await still(page);
    await visit(page, `${base}/breakers`);
    const rows = page.locator('main tbody tr');
    assert.match(await rows.first().innerText(), /payments[\s\S]*open/);
    assert.equal(await rows.first().locator('.badge use').getAttribute('href').then(to => to.split('#')[1]), 'i-open');
    const heights = await rows.first().locator('.strip rect').evaluateAll(all => all.map(one => one.getAttribute('height')));
    assert.deepEqual([...new Set(heights)], ['3', '15']);
    const hatch = await page.locator('.strip .st-half').first().evaluate(one => getComputedStyle(one).fill);
    assert.match(hatch, /p-half/);
    assert.match(await rows.first().locator('.strip').getAttribute('aria-label'), /closed, open since/);
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/breakers\/one/);
    clean(page);
    await page.context().close();
  },

  async 'filters work without JavaScript'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await page.goto(`${base}/breakers`);
    await page.locator('select[name=state]').selectOption('half_open');
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.waitForURL(/state=half_open/);
    assert.equal(await page.locator('main tbody tr').count(), 1);
    await page.getByRole('link', { name: 'card-processor' }).click();
    await page.waitForURL(/\/breakers\/one/);
    assert.match(await page.locator('h1').innerText(), /half-open/);
    clean(page);
    await page.context().close();
  },
});
await browser.close();
