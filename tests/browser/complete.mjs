// Types a query with completion, by keys alone, and finds the trace; a bad one shows where it is wrong.
//
//   node complete.mjs BASE     a dashboard with a trace of `orders` that has shop.customer = anna, and one of ben

import assert from 'node:assert/strict';
import { clean, launch, open, run, visit } from './browser.mjs';

const [base] = process.argv.slice(2);
const browser = await launch();

const options = page => page.locator('#completions li');

await run({
  async 'keys and values are offered, taken by keys, and asked for'() {
    const page = await open(browser, base);
    await visit(page, `${base}/traces`);
    const line = page.getByRole('combobox', { name: 'Query' });
    await line.focus();
    await page.keyboard.type('customer');
    await options(page).filter({ hasText: /^span\.shop\.customer$/ }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await line.inputValue(), 'span.shop.customer ');
    await page.keyboard.type('= b');
    await options(page).filter({ hasText: /^ben$/ }).waitFor();
    await page.keyboard.press('ArrowDown');
    assert.equal(await line.getAttribute('aria-activedescendant'), 'completion-0');
    await page.keyboard.press('Enter');
    assert.equal(await line.inputValue(), 'span.shop.customer = ben ');
    // Escape closes the list and leaves the line; Enter asks.
    await options(page).first().waitFor();
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('#completions').isVisible(), false);
    await page.keyboard.press('Enter');
    await page.waitForURL(/query=/);
    assert.equal(await page.locator('main tbody tr a[href^="/traces/"]').count(), 1);
    clean(page);
    await page.context().close();
  },

  async 'a bad query shows where it is wrong, also without script'() {
    for (const javaScriptEnabled of [true, false]) {
      const page = await open(browser, base, { javaScriptEnabled });
      await visit(page, `${base}/traces?query=${encodeURIComponent('status = error and kind = servant')}`);
      const [text, mark] = (await page.locator('.query-error pre').textContent()).split('\n');
      assert.equal(mark.indexOf('^'), text.indexOf('servant'));
      await page.context().close();
    }
  },
});
await browser.close();
