#include "dicom_node/operate/commands/analysed_image.h"

#include <fstream>
#include <memory>
#include <string_view>
#include <utility>

#include "dicom_node/object/finding_record.h"
#include "dicom_node/object/image_loader.h"
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
    record.reason = record.route.reason;
  }
  return report::ReportedImage{std::move(record), path, {}};
}

bool unreadable_is_failure(const InputPath& input) {
  if (input.named) return true;
  std::ifstream file(input.path, std::ios::binary);
  char magic[4] = {};
  return file.seekg(128) && file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "DICM";
}

Result<PendingAnalysis> submit_image(const report::ReportedImage& image, const std::vector<std::string>& tasks,
                                     inference::Predictor& predictor) {
  NODE_ASSIGN_OR_RETURN(object::LoadedImage loaded, object::load_image(image.file, {.render_for_processing = true}));
  auto promise = std::make_shared<std::promise<Result<std::vector<inference::Prediction>>>>();
  PendingAnalysis pending{promise->get_future(), std::move(loaded.rendering)};
  const storage::InstanceRecord& record = image.record;
  predictor.submit(
      {.image = std::move(loaded.radiograph),
       .tasks = tasks,
       .seed = object::mask_seed(record.sop_instance_uid.str()),
       .priority = record.route.priority,
       .body_part = record.route.body_part},
      [promise](Result<std::vector<inference::Prediction>> answer) { promise->set_value(std::move(answer)); });
  return pending;
}

Result<std::vector<inference::Prediction>> settle_image(report::ReportedImage& image,
                                                        std::vector<inference::Prediction> answers,
                                                        inference::Predictor& predictor) {
  storage::RouteDecision& route = image.record.route;
  if (route.pending.empty()) return answers;
  NODE_ASSIGN_OR_RETURN(object::SettledRoute settled, object::settle_route(route, answers));
  route = std::move(settled.route);
  if (!settled.still_to_ask.empty()) {
    NODE_ASSIGN_OR_RETURN(PendingAnalysis rest, submit_image(image, settled.still_to_ask, predictor));
    NODE_ASSIGN_OR_RETURN(std::vector<inference::Prediction> later, rest.answer.get());
    for (inference::Prediction& answer : later) answers.push_back(std::move(answer));
  }
  return object::answers_in_order(route, std::move(answers));
}

std::size_t requests_ahead(const config::InferenceConfig& config) {
  return static_cast<std::size_t>(config.in_flight_max > 0 ? config.in_flight_max : 2 * config.batch_rows_max);
}

}  // namespace node::operate
