import pc from "picocolors";
import type { ProgressReport, ProgressSink } from "../../base/progress.js";

const terminalEveryMs = 100;
/**
 * Seconds from one plain line to the next; the last value is used again and again. So the log of an hour's work has
 * some lines, not thousands, and short work prints none.
 */
const plainDistances = [5, 5, 10, 30, 60] as const;
const barWidth = 24;

/** The stream on which progress is shown, and a clock. */
export interface ProgressStage {
  readonly stream: Pick<NodeJS.WriteStream, "write" | "isTTY">;
  /** Milliseconds of a clock that only rises. */
  now(): number;
}

/** Shows the progress of long work on stderr: a bar on a terminal, plain lines at growing intervals elsewhere. */
export class Progress implements Disposable {
  /** The receiver of progress, to be passed to the library. */
  readonly sink: ProgressSink = (report) => this.show(report);
  private readonly stage: ProgressStage;
  private readonly onTerminal: boolean;
  private startedAt: number;
  private nextAt: number;
  private doing: string | undefined;
  private lines = 0;
  private drawn = false;
  private silent = false;

  constructor(stage: ProgressStage = { stream: process.stderr, now: () => performance.now() }) {
    this.stage = stage;
    this.onTerminal = stage.stream.isTTY === true;
    this.startedAt = stage.now();
    this.nextAt = this.onTerminal ? this.startedAt : this.startedAt + plainDistances[0] * 1000;
  }

  private show(report: ProgressReport): void {
    if (this.silent) return;
    const now = this.stage.now();
    if (this.doing !== undefined && this.doing !== report.doing) this.startedAt = now; // the next part of the work
    this.doing = report.doing;
    if (now < this.nextAt) return;
    const seconds = (now - this.startedAt) / 1000;
    if (this.onTerminal) {
      this.nextAt = now + terminalEveryMs;
      this.stage.stream.write(`\r\x1b[K${describe(report, seconds, bar)}`);
      this.drawn = true;
    } else {
      this.lines++;
      this.nextAt = now + (plainDistances[this.lines] ?? plainDistances.at(-1)!) * 1000;
      this.stage.stream.write(`${describe(report, seconds, () => "")}\n`);
    }
  }

  /** Removes the bar, and shows nothing from then on, because the terminal is used for something else. */
  silence(): void {
    this[Symbol.dispose]();
    this.silent = true;
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    if (this.drawn) this.stage.stream.write("\r\x1b[K");
    this.drawn = false;
  }
}

function bar(share: number): string {
  return `${pc.cyan("█".repeat(Math.round(share * barWidth)).padEnd(barWidth, "░"))} `;
}

function describe(
  { doing, done, total, unit }: ProgressReport,
  seconds: number,
  draw: (share: number) => string,
): string {
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${short(done)} ${unit}, ${short(rate)}/s`;
  if (total === undefined || total <= 0) return `${doing}: ${speed}, ${clock(seconds)}`;
  const share = Math.min(1, done / total);
  const left = rate > 0 ? `, ${clock((total - done) / rate)} left` : "";
  return `${doing}: ${draw(share)}${(share * 100).toFixed(0).padStart(3)} %  ${speed}${left}`;
}

/** `6187654321` as `6.19 G`. */
function short(value: number): string {
  const units = ["", " k", " M", " G", " T"];
  let unit = 0;
  let scaled = value;
  // Three digits are shown. A value that would be rounded to a thousand is shown as one of the next unit.
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? Math.round(scaled) : scaled.toPrecision(3)}${units[unit]}`;
}

function clock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
