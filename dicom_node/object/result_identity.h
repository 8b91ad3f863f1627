// result_identity: what every result copies from its source, and the UIDs derived for it.
//
// Guarantee: the same work done twice has the same UIDs: 2.25.<name-based UUID, version 5> over kind, source, task,
//            model version and revision.
// Threads:   reentrant.
// Source:    PS3.5 B.2 (UUID derived UIDs), RFC 9562; PS3.3 C.7.1.1, C.7.2.1, C.7.2.2, C.12.1.
#pragma once

#include <string>
#include <string_view>

#include "config/base/clock.h"
#include "config/base/status.h"
#include "storage/uid.h"

class DcmItem;

namespace node::object {

// kind: one word for each form: sr, sc, sr-series, sc-series, device, tracking, predict-sr, ...; sr-plain: a report for one
// who gets no overlays.
// name = "skelex-uid-1\n" kind "\n" source "\n" task "\n" model version "\n" revision, in the namespace
// 6f3c1a52-8a0e-5d5b-9a86-3a1f0c6f7e11.
storage::Uid derive_uid(std::string_view kind, std::string_view source_uid, std::string_view task,
                        std::string_view model_version, std::string_view revision);

// Copies patient, study and request attributes and the character set, raw bytes as they are, from `source` into
// `result`; type 2 attributes that are absent come out empty. `is_sr`: the request goes into Referenced Request
// Sequence instead of Request Attributes Sequence. Never copied: acquisition, private groups, UIDs of the series.
// Dates and times of before 1993 ("1995.07.20") are written as they are now; all else that is wrong make_valid() has
// mended before.
// Errors: kInvalidArgument if the source lacks Study Instance UID.
Status copy_identity(DcmItem& source, DcmItem& result, bool is_sr);

// The date (DA) and time (TM) of a moment, expressed in the source's Timezone Offset From UTC (0008,0201) if it has
// one, else in local time.
struct DicomDateTime {
  std::string date;  // YYYYMMDD
  std::string time;  // HHMMSS.FFF
};
DicomDateTime to_dicom_time(WallTime time, DcmItem& source);

}  // namespace node::object
