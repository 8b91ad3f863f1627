#include "dicom_node/report/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dicom_node/object/result_identity.h"
#include "dicom_node/report/finding_notes.h"

namespace node::report {
namespace {

using Json = nlohmann::ordered_json;

std::string_view word(const config::MessageConfig& config) {
  return config.kind == config::MessageKind::kOru ? "oru" : "webhook";
}

}  // namespace

MessageStudy describe(const ReportedStudy& study, const object::OrderFacts& order, const std::string& urgent,
                      const std::string& control_id, const ResultContext& context) {
  MessageStudy message{&study, &order, urgent, std::nullopt, {}, control_id};
  for (const ReportedImage& image : study.images) {
    const std::string name = image_name(image);
    if (image.findings.empty()) {
      message.impression.push_back(fmt::format("{}: not analysed: {}", name, why_not_analysed(image)));
      continue;
    }
    for (const object::FindingRecord& finding : image.findings) {
      const config::TaskConfig task = find_task(context.config.tasks, finding.prediction);
      if (!finding.prediction.not_asked.empty()) continue;
      if (!message.priority) message.priority = ReadingPriority::kRoutine;
      if (outcome_of(task, finding.prediction) == Outcome::kFound) message.priority = ReadingPriority::kFindings;
      for (const FindingLine& line : finding_lines(context.config.tasks, finding, image.findings)) {
        message.impression.push_back(fmt::format("{}: {}", name, line.text));
      }
    }
    for (const std::string& note : image_notes(image, context.config))
      message.impression.push_back(fmt::format("{}: {}", name, note));
  }
  if (!urgent.empty()) {
    message.priority = ReadingPriority::kUrgent;
    message.impression.insert(message.impression.begin(), "Urgent: " + urgent);
  }
  return message;
}

std::string encode_webhook(const MessageStudy& message, const ResultContext& context) {
  Json json = {
      {"event", "study_reported"},
      {"id", message.control_id},
      {"node", context.config.ae_title},
      {"study_instance_uid", message.study->study_instance_uid.str()},
      {"accession_number", message.order->accession_number},
      {"revision", message.study->revision},
      {"reported_at", std::chrono::duration_cast<std::chrono::seconds>(context.time.time_since_epoch()).count()},
      {"urgent", message.urgent}};
  if (message.priority) json["priority"] = static_cast<int>(*message.priority);
  json["impression"] = message.impression;
  json["disclaimer"] = context.config.disclaimer;
  json["images"] = Json::array();
  for (const ReportedImage& image : message.study->images) {
    Json entry = {{"sop_instance_uid", image.record.sop_instance_uid.str()},
                  {"state", storage::to_string(image.record.state)},
                  {"reason", image.findings.empty() ? why_not_analysed(image) : image.record.reason},
                  {"body_part", image.record.route.body_part},
                  {"notes", image_notes(image, context.config)},
                  {"findings", Json::array()}};
    for (const object::FindingRecord& finding : image.findings) {
      const inference::Prediction& prediction = finding.prediction;
      const config::TaskConfig task = find_task(context.config.tasks, prediction);
      const int leading = leading_label(prediction);
      for (const inference::Score& score : prediction.scores) {
        Json one = {{"task", prediction.task}, {"label", score.label}, {"value", score.value}, {"unit", score.unit}};
        // Of alternatives the likeliest alone has a level; a quantity has none.
        if (task.output == config::OutputKind::kSoftmax) {
          if (&score == &prediction.scores[static_cast<std::size_t>(std::max(leading, 0))])
            one["level"] = to_string(level_of(task, prediction));
        } else if (task.output != config::OutputKind::kRegression) {
          one["level"] = to_string(level_of(task, score.value));
        }
        if (const std::string region = region_name(prediction, score.region); !region.empty()) {
          one["region"] = score.region;
          one["region_name"] = region;
        }
        one["model"] = prediction.model_version;
        entry["findings"].push_back(std::move(one));
      }
    }
    json["images"].push_back(std::move(entry));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ResultObject> make_message(const ReportedStudy& study, const std::string& urgent,
                                  const config::MessageConfig& config, const ResultContext& context) {
  const std::string what = fmt::format("message to {}", config.name);
  Result<object::OrderFacts> order = not_found(what + ": no image of the study is left");
  for (const ReportedImage& image : study.images) {
    if (!image.record.purged_at) order = object::read_order_facts(image.file);
    if (order.ok()) break;
  }
  for (const std::filesystem::path& earlier : study.earlier_objects) {
    if (order.ok()) break;
    order = object::read_order_facts(earlier);
  }
  if (!order.ok()) return order.status().within(what);

  const std::string kind = context.kind(word(config));
  const storage::Uid uid = object::derive_uid(kind, study.study_instance_uid.str(), config.name,
                                              std::to_string(kObjectFormat), context.revision);
  // The digits behind "2.25.": random enough, the same on every try, and as many as MSH-10 takes.
  const MessageStudy message = describe(study, *order, urgent, uid.str().substr(5, 20), context);
  ResultObject object{uid, uid, "", kind, study.study_instance_uid.str(), config.name, study.revision, ""};
  object.transfer_syntax_uid.clear();  // No object of DICOM.
  object.bytes = config.kind == config::MessageKind::kOru ? encode_oru(message, config, context)
                                                          : encode_webhook(message, context);
  return object;
}

}  // namespace node::report
