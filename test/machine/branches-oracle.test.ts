import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { branchGuests, buildGuest, expectedBranches, guestLabels, unsteppable } from "../guests/build.js";
import { recordGuest } from "../guests/record.js";
import { checkLog, parseExpectedLog } from "../oracle/expected-log.js";
import { SingleStepper } from "../oracle/single-step.js";

// The oracle against the logs written beside the guests: two accounts that are independent of each other and of the
// product. Guests that pass here are used to judge the plugin.
const names = (await branchGuests()).filter((name) => !unsteppable.has(name));

describe("single-stepping shows the branch log written beside the guest", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "vmtape-guests-"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  test.each(names)("%s", async (name) => {
    const guest = await buildGuest(name);
    const labels = await guestLabels(guest);
    await using stepper = await SingleStepper.start(await recordGuest(guest, directory));
    const begin = { address: labels.get("window_begin")! };
    const stepped = await stepper.step(begin, { address: labels.get("window_end")! });
    expect(stepped.doubts).toEqual([]);
    const log = parseExpectedLog(await expectedBranches(name), labels);
    expect(checkLog(stepped.records, log, labels)).toBeUndefined();
  });
});
