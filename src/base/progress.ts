/** How far a long job has come. Called often; a receiver decides how often to show it. */
export interface ProgressReport {
  /** What is being done, as a short present participle: "recording", "replaying". */
  readonly doing: string;
  /** Work done so far, in `unit`. */
  readonly done: number;
  /** All the work there is, in `unit`, where it is known. */
  readonly total?: number;
  readonly unit: "instructions" | "bytes" | "events" | "files" | "steps";
}

export type ProgressSink = (report: ProgressReport) => void;
