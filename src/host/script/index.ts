export { runScript, type ScriptResult, type Verdict } from './run.js';
