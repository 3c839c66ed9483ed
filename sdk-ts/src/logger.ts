/** Where the SDK says what it does. Each method takes a sentence and then keys and values in turn. */
export interface Logger {
  debug(message: string, ...keyValues: unknown[]): void;
  info(message: string, ...keyValues: unknown[]): void;
  warn(message: string, ...keyValues: unknown[]): void;
  error(message: string, ...keyValues: unknown[]): void;
}

/** How much is logged: the level and all after it. */
export type LogLevel = "debug" | "info" | "warn" | "error";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Returns the level that a text names, in any case; "warning" is "warn". Undefined for anything else. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const lower = text.toLowerCase();
  const level = lower === "warning" ? "warn" : lower;
  return LEVELS.find((known) => known === level);
}

/** Returns a logger that writes lines to standard error, or hands on to another, from a level on. */
export function makeLogger(level: LogLevel, target: Logger = stderrLogger()): Logger {
  const from = LEVELS.indexOf(level);
  const log =
    (at: LogLevel) =>
    (message: string, ...keyValues: unknown[]): void => {
      if (LEVELS.indexOf(at) >= from) {
        target[at](message, ...keyValues);
      }
    };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

function stderrLogger(): Logger {
  const line =
    (level: LogLevel) =>
    (message: string, ...keyValues: unknown[]): void => {
      const pairs: string[] = [];
      for (let i = 0; i < keyValues.length; i += 2) {
        pairs.push(`${String(keyValues[i])}=${String(keyValues[i + 1])}`);
      }
      process.stderr.write(`skerry: ${level}: ${[message, ...pairs].join(" ")}\n`);
    };
  return { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
}
