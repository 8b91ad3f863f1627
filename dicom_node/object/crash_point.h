// crash_point(): a named point at which a test can have this process die as if by SIGKILL.
//
// Guarantee: does nothing unless the environment variable SKELEX_NODE_CRASH_POINT names the point when the process
//            starts: "recorded" dies at the first passage, "recorded:3" at the third. Always compiled in, so that what
//            tools/crashtest kills is what is shipped. The points, in the order of the flow:
//            received (the object is here, at least its end in memory alone), written (it lies in incoming/), spooled
//            (its file is durable), recorded (its row too; not answered), loaded (claimed and decoded), predicted (not
//            stored), analysed (stored), built (results lie in the spool), finished (study and deliveries recorded),
//            sending, sent (the peer answered; not recorded), delivered (recorded), commitment_asked (the peer took the
//            N-ACTION), commitment_recorded (what it reported over the same association), commitment_answered (the
//            report was).
// Threads:   any.
#pragma once

namespace node::object {

void crash_point(const char* name);

}  // namespace node::object
