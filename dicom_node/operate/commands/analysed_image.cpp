#include "dicom_node/operate/commands/analysed_image.h"

#include <fstream>
#include <memory>
#include <string_view>
#include <utility>

#include "dicom_node/object/analyse_image.h"
#include "dicom_node/object/instance_header.h"
#include "dicom_node/object/pending_route.h"

namespace node::operate {

Result<report::ReportedImage> read_image(const std::string& path, const route::Router& router) {
  NODE_ASSIGN_OR_RETURN(const object::InstanceHeader header, object::read_instance_header(path));
  NODE_ASSIGN_OR_RETURN(const storage::Uid sop, storage::Uid::parse(header.sop_instance_uid));
  NODE_ASSIGN_OR_RETURN(const storage::Uid study, storage::Uid::parse(header.study_instance_uid));
  storage::InstanceRecord record{.sop_instance_uid = sop, .study_instance_uid = study};
  record.series_instance_uid = header.series_instance_uid;
  record.sop_class_uid = header.sop_class_uid;
  record.transfer_syntax_uid = header.transfer_syntax_uid;
  record.modality = header.modality;
  record.accession_number = header.accession_number;
  record.route = router.route(header, "");
  if (record.route.tasks.empty()) {
    record.state = storage::InstanceState::kSkipped;
    const bool damaged = !header.pixel_data_problem().empty();
    record.reason = damaged ? reason_and_way_out(invalid_argument(record.route.reason)) : record.route.reason;
  }
  return report::ReportedImage{std::move(record), path, {}};
}

bool unreadable_is_failure(const InputPath& input) {
  if (input.named) return true;
  std::ifstream file(input.path, std::ios::binary);
  char magic[4] = {};
  return file.seekg(128) && file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "DICM";
}

std::string reason_and_way_out(const Status& status) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      return status.message() +
             "; damaged or wrongly made: copy or export it again from where it was made (dcmdump FILE shows how far it "
             "can be read)";
    case StatusCode::kResourceExhausted:
      return status.message() + "; larger than this node reads: export it smaller, or frame by frame";
    case StatusCode::kNotFound:
    case StatusCode::kInternal: return status.message() + "; look at the path, its rights and the disk, then try again";
    default: return status.message();
  }
}

PendingAnalysis submit_image(const report::ReportedImage& image, const std::vector<std::string>& tasks,
                             inference::Predictor& predictor) {
  auto promise = std::make_shared<std::promise<Result<std::vector<object::FindingRecord>>>>();
  PendingAnalysis pending = promise->get_future();
  object::analyse_image(
      image.file, image.record, tasks, image.findings, predictor,
      [promise](Result<std::vector<object::FindingRecord>> answer) { promise->set_value(std::move(answer)); });
  return pending;
}

Result<std::vector<object::FindingRecord>> settle_image(report::ReportedImage& image,
                                                        std::vector<object::FindingRecord> findings,
                                                        inference::Predictor& predictor) {
  storage::RouteDecision& route = image.record.route;
  if (route.pending.empty()) return findings;
  NODE_ASSIGN_OR_RETURN(object::SettledRoute settled, object::settle_route(route, findings));
  route = std::move(settled.route);
  if (!settled.still_to_ask.empty()) {
    image.findings = findings;
    NODE_ASSIGN_OR_RETURN(std::vector<object::FindingRecord> later,
                          submit_image(image, settled.still_to_ask, predictor).get());
    for (object::FindingRecord& finding : later) findings.push_back(std::move(finding));
  }
  return object::findings_in_order(route, std::move(findings));
}

std::size_t requests_ahead(const config::InferenceConfig& config) {
  return static_cast<std::size_t>(config.in_flight_max > 0 ? config.in_flight_max : 2 * config.batch_rows_max);
}

}  // namespace node::operate
