export { isVmtapeError, VmtapeError } from "./base/errors.js";
