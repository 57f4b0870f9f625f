import pc from "picocolors";
import type { ProgressReport, ProgressSink } from "../base/progress.js";

const terminalEveryMs = 100;
const plainEveryMs = 5000;
const barWidth = 24;

/** Shows the progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere. */
export class Progress implements Disposable {
  /** Pass this to the library. */
  readonly sink: ProgressSink = (report) => this.show(report);
  private startedAt = performance.now();
  private doing: string | undefined;
  private readonly onTerminal = process.stderr.isTTY === true;
  private shownAt = Number.NEGATIVE_INFINITY;
  private drawn = false;
  private silent = false;

  private show(report: ProgressReport): void {
    if (this.silent) return;
    const now = performance.now();
    if (this.doing !== undefined && this.doing !== report.doing) this.startedAt = now; // the next part of the work
    this.doing = report.doing;
    if (!this.onTerminal && this.shownAt < 0) this.shownAt = this.startedAt; // short work prints no plain line
    if (now - this.shownAt < (this.onTerminal ? terminalEveryMs : plainEveryMs)) return;
    this.shownAt = now;
    const text = describe(report, (now - this.startedAt) / 1000);
    process.stderr.write(this.onTerminal ? `\r\x1b[K${text}` : `${text}\n`);
    this.drawn = this.onTerminal;
  }

  /** Removes the bar and shows nothing any more: the terminal is somebody else's from now on. */
  silence(): void {
    this[Symbol.dispose]();
    this.silent = true;
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    if (this.drawn) process.stderr.write("\r\x1b[K");
    this.drawn = false;
  }
}

function describe({ doing, done, total, unit }: ProgressReport, seconds: number): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${short(done)} ${unit}, ${short(rate)}/s`;
  if (total === undefined || total <= 0) return `${doing}: ${speed}, ${clock(seconds)}`;
  const share = Math.min(1, done / total);
  const bar = pc.cyan("█".repeat(Math.round(share * barWidth)).padEnd(barWidth, "░"));
  const left = rate > 0 ? `, ${clock((total - done) / rate)} left` : "";
  return `${doing}: ${bar} ${(share * 100).toFixed(0).padStart(3)} %  ${speed}${left}`;
}

/** `6187654321` as `6.19 G`. */
function short(value: number): string {
  const units = ["", " k", " M", " G", " T"];
  let unit = 0;
  let scaled = value;
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaled) : scaled.toPrecision(3)}${units[unit]}`;
}

function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
