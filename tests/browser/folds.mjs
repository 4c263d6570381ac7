// Opens and folds the internal spans of a trace, by keys, by pointer, and without script.
//
//   node folds.mjs ADDRESS     the page of a trace: a root, six spans of middleware, a handler, a call that failed

import assert from 'node:assert/strict';
import { clean, launch, open, run, visit } from './browser.mjs';

const [address] = process.argv.slice(2);
const base = new URL(address).origin;
const browser = await launch();

const FOLDED = ['GET /orders/:id', '6 internal spans', 'request handler', 'SELECT orders'];
const WHOLE = [FOLDED[0], 'query', 'helmet', 'cors', 'session', 'jsonParser', 'logger', ...FOLDED.slice(2)];

/** Waits until the rows have these names. */
async function rows(page, names) {
  // While one page gives way to the next there are none.
  const there = async () => (await page.locator('.wf a.op').allTextContents().catch(() => [])).join(', ');
  const deadline = Date.now() + 10_000;
  while (await there() !== names.join(', ')) {
    assert.ok(Date.now() < deadline, `rows: ${await there()}, not ${names.join(', ')}`);
    await page.waitForTimeout(50);
  }
}

const run6 = page => page.getByRole('link', { name: '6 internal spans', exact: true });
const fold = page => page.getByRole('button', { name: 'Fold internal' });

await run({
  async 'by keys: j goes to the run, Enter or the arrow opens it, find and errors see past it'() {
    const page = await open(browser, base);
    for (const key of ['Enter', 'ArrowRight']) {
      await visit(page, address);
      await rows(page, FOLDED);
      await page.keyboard.press('j');
      await page.keyboard.press('j');
      assert.equal(await page.evaluate(() => document.activeElement.textContent), FOLDED[1]);
      await page.keyboard.press(key);
      await rows(page, WHOLE);
    }
    await visit(page, address);
    await page.keyboard.press('n');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'SELECT orders');
    await page.locator('.find input[name=find]').fill('helmet');
    await page.keyboard.press('Enter');
    await rows(page, WHOLE);
    assert.equal(await page.locator('.wf tr.hit[aria-selected=true] a.op').textContent(), 'helmet');
    clean(page);
    await page.context().close();
  },

  async 'by pointer and without script: the link opens, the switch folds, other switches stay'() {
    for (const javaScriptEnabled of [true, false]) {
      const page = await open(browser, base, { javaScriptEnabled });
      await visit(page, address);
      await run6(page).click();
      await rows(page, WHOLE);
      await fold(page).click();
      await rows(page, FOLDED);
      await fold(page).click();
      await rows(page, WHOLE);
      await page.getByRole('button', { name: 'Errors only' }).click();
      await rows(page, [FOLDED[0], ...FOLDED.slice(2)]);
      await fold(page).click();
      // The rows stay the same: the page that comes is known by its switch.
      await page.getByRole('button', { name: 'Fold internal', pressed: true }).waitFor();
      await page.getByRole('button', { name: 'Errors only' }).click();
      await rows(page, FOLDED);
      await page.getByRole('button', { name: 'Collapse', exact: true }).click();
      await rows(page, FOLDED.slice(0, 3));
      await page.getByRole('button', { name: 'Expand all' }).click();
      await rows(page, FOLDED);
      await page.locator('.find input[name=find]').fill('cors');
      await page.keyboard.press('Enter');
      await rows(page, WHOLE);
      clean(page);
      await page.context().close();
    }
  },
});
await browser.close();
