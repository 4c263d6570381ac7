// Walks in and out of a dashboard that asks for a read key. Whoever runs this does what it asks for by a line:
//
//   node login.mjs BASE FOLDER     "please: send NAME" a trace with a root of this name

import assert from 'node:assert/strict';
import path from 'node:path';
import { clean, launch, open, overflow, run, visit } from './browser.mjs';

const [base, folder] = process.argv.slice(2);
/** The key that the dashboard was started with. */
const KEY = 'a-key-for-reading';
const browser = await launch();
const page = await open(browser, base);
const please = what => console.log(`please: ${what}`);

await run({
  async 'the login fits every width, light and dark'() {
    for (const colorScheme of ['light', 'dark']) {
      const page = await open(browser, base, { colorScheme });
      for (const width of [1440, 768, 400]) {
        await page.setViewportSize({ width, height: 860 });
        await visit(page, `${base}/`);
        assert.ok(await overflow(page) <= 0, `nothing beyond the right edge at ${width} px, ${colorScheme}`);
        await page.screenshot({ path: path.join(folder, `login-${colorScheme}-${width}.png`) });
      }
      clean(page);
      await page.context().close();
    }
  },

  async 'a wrong key is refused in words, the right one leads to the page that was asked for'() {
    await visit(page, `${base}/traces?last=6h`);
    assert.equal(new URL(page.url()).pathname, '/login');
    assert.ok(await page.locator('input[name=key]').evaluate(input => input === document.activeElement), 'the key can be typed at once');
    page.away = true;
    await logIn(page, 'another-key');
    await page.getByRole('alert').waitFor();
    await page.screenshot({ path: path.join(folder, 'login-refused.png') });
    assert.ok(!(await page.content()).includes('another-key'), 'the key is not shown again');
    page.away = false;
    await logIn(page, KEY);
    await page.waitForURL(`${base}/traces?last=6h`);
    assert.equal(await page.evaluate(() => document.cookie.includes('session')), false, 'no script sees the session');
    clean(page);
  },

  async 'pages are live in a session'() {
    await page.evaluate(() => { window.marked = true; });
    please('send first-light');
    await page.getByRole('link', { name: 'first-light' }).waitFor();
    assert.ok(await page.evaluate(() => window.marked), 'without a reload');
    for (const width of [1440, 400]) {
      await page.setViewportSize({ width, height: 860 });
      assert.ok(await overflow(page) <= 0, `the way out fits at ${width} px`);
      await page.screenshot({ path: path.join(folder, `logged-in-${width}.png`) });
    }
    await page.setViewportSize({ width: 1440, height: 1000 });
    clean(page);
  },

  async 'a link on another site leads in, although the browser keeps the cookie back at first'() {
    const other = await page.context().newPage();
    await other.setContent(`<a href="${base}/status">the report</a>`);
    await other.getByRole('link').click();
    await other.waitForURL(`${base}/status`);
    await other.getByRole('button', { name: 'Log out' }).waitFor();
    await other.close();
  },

  async 'who logs out is out in every tab'() {
    const other = await page.context().newPage();
    await visit(other, `${base}/`);
    await other.getByRole('button', { name: 'Log out' }).click();
    await other.waitForURL(`${base}/login`);
    page.away = true;
    please('send second-wind');
    await page.waitForURL(/\/login\?next=/);
    assert.equal(await page.getByRole('link', { name: 'first-light' }).count(), 0);
  },

  async 'it goes without JavaScript'() {
    const page = await open(browser, base, { javaScriptEnabled: false });
    await visit(page, `${base}/status`);
    await logIn(page, KEY);
    await page.waitForURL(`${base}/status`);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.waitForURL(`${base}/login`);
    clean(page);
    await page.context().close();
  },
});
await browser.close();

async function logIn(page, key) {
  await page.getByRole('textbox', { name: 'Key' }).fill(key);
  await page.getByRole('button', { name: 'Log in' }).click();
}
