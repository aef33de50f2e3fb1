// Tail loss probes (RFC 8985 §7): when the last segments of a flight go unanswered for two round trips, one more
// segment is sent, so that its ACK tells RACK what was lost long before the retransmission timer would. The probe is
// new data if there is any that may be sent, else the last segment again.
//
//   FL_TLP           the retransmit timer is the probe timer
//   FL_PROBED        a probe is out; tlpEnd: SND.NXT after it; F2_TLP_RETRANS: it was a retransmission

import { CNT_TcpExtTCPLossProbeRecovery, CNT_TcpExtTCPLossProbes } from '../abi/counters';
import { CFGF_TLP, CFG_FLAGS, CFG_RTO_MIN_US, CFG_TLP_SLACK_US, CTL_TX_TAIL, TCP_SYN_RECV } from '../abi/layout';
import { count, nowUs } from '../abi/runtime';
import { timerArm } from '../timer/wheel';
import { ccOnCongestion } from './congestion/index';
import { sendProbe } from './output';
import { retransmitProbe } from './retransmit';
import { rtoArm, rtoNow, putOff } from './rto';
import { seqGt, seqLt } from './seq';
import { CA_CWR, CA_OPEN, F2_TLP_RETRANS, FL_PROBED, FL_SACK, FL_TLP, Tcb, coldOf, retransmitTimer } from './tcb';
import { txSegAt } from './txseg';

/** Arms the retransmit timer for what is outstanding: a probe first where one may help, else the timeout. */
export function lossTimerArm(t: Tcb): void {
  // Fast Open: until the SYN-ACK is acknowledged the timer is its.
  if (t.state == TCP_SYN_RECV) return;
  t.flags &= ~FL_TLP;
  if (
    !(load<u32>(CFG_FLAGS) & CFGF_TLP) ||
    !(t.flags & FL_SACK) ||
    (t.caState != CA_OPEN && t.caState != CA_CWR) ||
    t.sackedSegs != 0 ||
    t.srtt == 0
  ) {
    rtoArm(t);
    return;
  }
  // §7.2: PTO = 2 SRTT, and the peer's delayed ACK on top when only one segment is out.
  let pto: u64 = t.srtt >> 2;
  pto += t.txHead == t.txTail ? <u64>load<u32>(CFG_RTO_MIN_US) : <u64>load<u32>(CFG_TLP_SLACK_US);
  t.flags |= FL_TLP;
  timerArm(retransmitTimer(t), nowUs + min(pto, rtoNow(t)));
}

/** The probe timer has expired (§7.3). One probe at a time is in flight. */
export function tlpExpired(t: Tcb): void {
  if (t.txHead && putOff(t)) return;
  t.flags &= ~FL_TLP;
  if (!t.txHead) return;
  const c = coldOf(t);
  const waiting = <i32>(txSegAt(t.txTail).txPos - load<u32>(CTL_TX_TAIL)) > 0;
  if (!(t.flags & FL_PROBED) && !waiting) {
    const fresh = sendProbe(t);
    if (fresh || retransmitProbe(t)) {
      t.flags |= FL_PROBED;
      c.flags2 = fresh ? c.flags2 & ~F2_TLP_RETRANS : c.flags2 | F2_TLP_RETRANS;
      c.tlpEnd = t.sndNxt;
      count(CNT_TcpExtTCPLossProbes);
    }
  }
  rtoArm(t);
}

/**
 * What an ACK says about the probe (§7.4). `advanced`: sndUna moved; `news`: the ACK brought anything, data, window or
 * SACK blocks; `duplicate`: it reports something received twice.
 */
export function tlpOnAck(t: Tcb, ack: u32, advanced: bool, news: bool, duplicate: bool): void {
  const c = coldOf(t);
  if (seqLt(ack, c.tlpEnd)) return;
  if (!(c.flags2 & F2_TLP_RETRANS) || duplicate) {
    t.flags &= ~FL_PROBED;
    return;
  }
  if (seqGt(ack, c.tlpEnd)) {
    // The probe has repaired a loss that nothing else has told of: congestion all the same.
    t.flags &= ~FL_PROBED;
    count(CNT_TcpExtTCPLossProbeRecovery);
    if (t.caState == CA_OPEN) {
      ccOnCongestion(t, t.sndNxt - t.sndUna, false);
      t.cwnd = min(t.cwnd, t.ssthresh);
    }
    return;
  }
  // A bare duplicate: both the original and the probe have arrived.
  if (!advanced && !news) t.flags &= ~FL_PROBED;
}
