export {
  CLIENT_PORTS,
  countPorts,
  formatPorts,
  hasPort,
  intersectPorts,
  PORT_MAX,
  type PortRange,
  type PortSet,
  parsePorts,
  portSet,
  splitRange,
  subtractPorts,
  unitePorts,
} from './ports.js';
export { reservePorts } from './reserve.js';
