// send_all: sends every image of an examination over several associations, again and again until it is stored.
//
// Guarantee: an image counts as stored, and stands in the acknowledgement log, only after the peer answered it with
//            success or a warning; the log's line is written before the next image of that association is sent.
// Threads:   one per association; returns when all have ended.
// Source:    PS3.7 9.1.1 (C-STORE), PS3.4 Table B.2-1 (status).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "config/base/status.h"
#include "tools/modality/examination.h"

namespace node::modality {

struct SendOptions {
  std::string called_ae_title, host, calling_ae_title;
  std::uint16_t port = 0;
  int associations = 1;
  double images_per_second_max = 0.0;  // 0: as fast as it goes.
  std::chrono::seconds give_up{0};     // After so long what is left is given up; 0: never.
  std::chrono::seconds dimse_timeout{60};
  std::string acknowledgement_log;  // A file; empty: none.
};

struct Progress {  // Read by another thread meanwhile.
  std::atomic<std::uint64_t> stored{0}, refused{0}, retries{0}, associations{0};
};

struct SendReport {
  std::uint64_t given_up = 0;
  double seconds = 0.0;
  std::vector<double> response_ms;    // From request to answer, of each stored image, ascending.
  std::vector<std::string> refusals;  // "1.2.3: A900 SOP Instance UID missing or invalid", the first few.
  std::string last_trouble;           // Why the last association failed or image was put off.
};

// Errors: kNotFound: the acknowledgement log cannot be written.
Result<SendReport> send_all(const Examination& examination, const SendOptions& options, Progress& progress);

}  // namespace node::modality
