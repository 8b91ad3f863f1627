#include "dicom_node/deliver/message_sender.h"

#include <gtest/gtest.h>

#include "dicom_node/deliver/stow_sender.h"

namespace node::deliver {
namespace {

using storage::DeliveryState;

std::string acknowledgement(const std::string& code, const std::string& error = "") {
  return "MSH|^~\\&|RIS|H|SKELEX||20261128||ACK|9|P|2.5.1\rMSA|" + code + "|77|told\r" +
         (error.empty() ? "" : "ERR|||" + error + "^x^HL70357|E||||why\r");
}

TEST(Acknowledgement, DecidesTheDelivery) {
  const auto state = [](const std::string& code, const std::string& error = "") {
    return judge_acknowledgement(acknowledgement(code, error), "77")->state;
  };
  for (const char* code : {"AA", "CA"}) EXPECT_EQ(state(code), DeliveryState::kDelivered);
  for (const char* code : {"AE", "CE", "AR", "CR"}) EXPECT_EQ(state(code), DeliveryState::kPending);
  EXPECT_EQ(state("AE", "205"), DeliveryState::kDelivered) << "it has the message already";
  EXPECT_EQ(state("AR", "200"), DeliveryState::kParked);
  EXPECT_EQ(state("AR", "203"), DeliveryState::kParked);
  EXPECT_EQ(state("AR", "204"), DeliveryState::kPending);
}

TEST(Acknowledgement, OnlyAnErrorEndsTheOffers) {
  EXPECT_EQ(judge_acknowledgement(acknowledgement("AE"), "77")->offers_max, kOffersAfterError);
  EXPECT_EQ(judge_acknowledgement(acknowledgement("AR"), "77")->offers_max, 0);
}

TEST(Acknowledgement, OfAnotherMessageOrWithoutACodeIsNone) {
  EXPECT_EQ(judge_acknowledgement(acknowledgement("AA"), "78").status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(judge_acknowledgement(acknowledgement("ZZ"), "77").status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(judge_acknowledgement("", "77").status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(judge_acknowledgement("MSA", "").status().code(), StatusCode::kUnavailable);
}

TEST(Acknowledgement, KeepsThePeersWordsOnOneLine) {
  EXPECT_EQ(judge_acknowledgement(acknowledgement("AE", "102"), "77")->words, "AE 102 why");
  EXPECT_EQ(judge_acknowledgement("MSA|AE|77|told \x01\xC3\xBC", "77")->words, "AE told ???");
  EXPECT_EQ(judge_acknowledgement("MSH|^~\\&\nMSA|AA|77\n", "77")->words, "AA") << "line feeds of a careless sender";
}

TEST(Http, DecidesTheDelivery) {
  for (int status : {200, 201, 204}) EXPECT_EQ(judge_http(status, "", "").state, DeliveryState::kDelivered);
  for (int status : {408, 429, 500, 503}) EXPECT_EQ(judge_http(status, "", "").state, DeliveryState::kPending);
  for (int status : {301, 400, 401, 404, 422}) EXPECT_EQ(judge_http(status, "", "").state, DeliveryState::kParked);
  EXPECT_EQ(judge_http(401, "Unauthorized", "no key").words, "HTTP 401 Unauthorized: no key");
}

TEST(Stow, AFailureReasonDecidesAsACStoreStatusDoes) {
  const auto body = [](int reason) {
    return R"({"00081198":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[)" + std::to_string(reason) + "]}}]}}";
  };
  EXPECT_EQ(judge_stow(409, "Conflict", body(0xA700)).state, DeliveryState::kPending);
  EXPECT_EQ(judge_stow(409, "Conflict", body(0xA900)).state, DeliveryState::kParked);
  EXPECT_EQ(judge_stow(409, "Conflict", body(0x0111)).state, DeliveryState::kDelivered) << "it is there";
  EXPECT_EQ(judge_stow(202, "Accepted", body(0xC122)).state, DeliveryState::kParked);
  EXPECT_EQ(judge_stow(409, "Conflict", body(0xA900)).words,
            "HTTP 409, failure reason A900H, data set does not match SOP class");
  EXPECT_EQ(judge_stow(200, "OK", R"({"00081198":{"vr":"SQ","Value":[{}]}})").state, DeliveryState::kPending)
      << "a failure without a reason";
}

TEST(Stow, WithoutOneTheHttpStatusDecides) {
  for (int status : {200, 202}) EXPECT_EQ(judge_stow(status, "", "{}").state, DeliveryState::kDelivered);
  for (int status : {401, 403, 429, 500, 503}) EXPECT_EQ(judge_stow(status, "", "").state, DeliveryState::kPending);
  for (int status : {400, 404, 409, 415}) EXPECT_EQ(judge_stow(status, "", "no JSON").state, DeliveryState::kParked);
}

// RFC 4231, test case 2.
TEST(Signature, IsHmacSha256) {
  EXPECT_EQ(signature("Jefe", "what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace node::deliver
