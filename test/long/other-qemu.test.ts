/** All machine tests once more, with the other QEMU of this host: the newest that is not the distribution's. */
import { spawn } from "node:child_process";
import { expect, test } from "vitest";
import { testQemus } from "../test-qemu.js";

const root = new URL("../../", import.meta.url).pathname;
const others = (await testQemus()).slice(1);

if (others.length === 0) {
  test("there is none: install one in /usr/local or /opt, or name one (VMTAPE_TEST_QEMU=PROGRAM)", (context) => {
    context.skip("no other QEMU");
  });
}

test.each(others)("machine tests with $version", async ({ path }) => {
  const child = spawn(`${root}node_modules/.bin/vitest`, ["run", "--project", "machine"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, VMTAPE_TEST_QEMU: path },
  });
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
});
