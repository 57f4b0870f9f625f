import { Command } from "commander";
import pc from "picocolors";
import { printable } from "../../base/printable.js";
import type { Check } from "../../host/checks.js";
import { placesOf, qemuCandidates, qemuOption, type TapeOptions } from "../shell/options.js";
import { note, say, sayStyled, toJson } from "../shell/output.js";
import { action } from "../shell/run.js";

interface DoctorFlags extends TapeOptions {
  readonly mend?: boolean;
}

export function doctorCommand(): Command {
  return new Command("doctor")
    .description("is everything here? lists what is missing, with the command that mends it")
    .option("--mend", "install what is missing (apt-get, with sudo when needed)")
    .option("--home <directory>", "where tapes live")
    .option(...qemuOption)
    .option("--json", "print facts as JSON")
    .action(
      action(async ({ signal }, options: DoctorFlags) => {
        let checks = await lookAround(options);
        if (options.mend) checks = await mend(checks, options, signal);
        const ok = checks.every((check) => check.ok || !check.needed);
        process.exitCode = ok ? 0 : 3;
        if (options.json) return say(toJson({ ok, checks }));
        for (const check of checks) print(check);
        if (!ok) {
          note("");
          note("mend everything that packages can mend: vmtape doctor --mend");
        }
      }),
    );
}

async function lookAround(options: DoctorFlags): Promise<Check[]> {
  const [{ checkMachine }, { checkGuest }, { checkImageTools }] = await Promise.all([
    import("../../host/checks.js"),
    import("../../host/check-guest.js"),
    import("../../host/check-image.js"),
  ]);
  const places = placesOf(options);
  return [
    ...(await checkMachine(places, qemuCandidates(options)[0])),
    await checkGuest(places.cache),
    await checkImageTools(),
  ];
}

async function mend(checks: readonly Check[], options: DoctorFlags, signal: AbortSignal): Promise<Check[]> {
  const packages = [...new Set(checks.flatMap((check) => (check.ok ? [] : (check.packages ?? []))))];
  if (packages.length > 0) {
    note(`installing ${packages.join(", ")}`);
    const { installPackages } = await import("../../host/apt.js");
    await installPackages(packages, { signal, onWait: (why) => note(`${why}: waiting for it`) });
  }
  await buildPluginIfMissing(options);
  return lookAround(options);
}

async function buildPluginIfMissing(options: DoctorFlags): Promise<void> {
  const [{ inspectQemu }, { buildPlugin }] = await Promise.all([
    import("../../qemu/build.js"),
    import("../../qemu/plugin-build.js"),
  ]);
  const { version } = await inspectQemu(qemuCandidates(options)[0]);
  await buildPlugin({ cacheDir: placesOf(options).cache, qemuVersion: version });
}

function print({ name, ok, needed, detail, mend }: Check): void {
  const mark = ok ? pc.green("ok     ") : needed ? pc.red("missing") : pc.yellow("without");
  sayStyled(`${mark} ${name.padEnd(9)} ${printable(detail)}`);
  if (!ok && mend) sayStyled(`        ${" ".repeat(9)} ${pc.bold(printable(mend))}`);
}
