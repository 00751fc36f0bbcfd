#include "repair/understood.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "analyzer/info.hpp"
#include "format/extensions.hpp"
#include "repair/repair.hpp"

namespace cowvet::repair {

using namespace findings::literals;

namespace {

constexpr std::uint64_t most_luks = 64ULL << 20;  // bytes of a LUKS header

// What an action says of the image, when it is more than bookkeeping.
std::optional<std::string> inference(const Action& action) {
  if (action.consent != findings::Consent::choice) return std::nullopt;
  const std::string_view evidence =
      action.places.empty() ? std::string_view() : action.places.front().evidence;
  return fmt::format("{} ({}; {}){}{}", action.what, action.rule->name,
                     action.count == 1 ? "1 place" : fmt::format("{} places", action.count),
                     evidence.empty() ? "" : ": ", evidence);
}

}  // namespace

struct Understood::Plan {
  Options options;
  Planned planned;
};

Understood::Understood() = default;
Understood::~Understood() = default;

base::Result<std::unique_ptr<Understood>> Understood::open(const storage::Device& image,
                                                           const UnderstandOptions& options,
                                                           base::Progress& progress) {
  std::unique_ptr<Understood> result(new Understood);
  auto& u = *result;
  const ViewOptions view{.data_file = options.data_file};
  if (auto plain = View::open(image, view)) u.plain_.emplace(std::move(*plain));

  u.plan_ = std::make_unique<Plan>();
  u.plan_->options = {.level = Level::all,
                      .allow_loss = false,
                      .jobs = options.jobs,
                      .assume_qcow2 = options.assume_qcow2,
                      .path = options.path,
                      .data_file = options.data_file};
  auto planned = plan_repair(image, u.plan_->options, progress);
  if (!planned) return std::unexpected(planned.error());
  u.plan_->planned = std::move(*planned);
  const auto& plan = u.plan_->planned.plan;
  const auto& verdict = plan.changes_anything() ? plan.after : plan.before;
  if (!verdict.header || !verdict.geometry)
    return base::fail(
        base::ErrorKind::wrong_format,
        "neither a header nor the content tells the size of its clusters: nothing can be copied");
  // A data file that nobody named before, and that is not there, is no better reading than the header's own.
  if (verdict.header->external_data_file() && options.data_file == nullptr && u.plain_ &&
      !u.plain_->header().external_data_file()) {
    u.device_ = &image;
    u.best_.emplace(View(image, u.plain_->header(), u.plain_->geometry(), view));
    u.read_names();
    return result;
  }
  u.device_ = plan.changes_anything() ? &u.plan_->planned.draft->image() : &image;
  u.best_.emplace(*u.device_, *verdict.header, *verdict.geometry, view);
  for (const auto& action : plan.actions)
    if (auto said = inference(action)) u.inferences_.push_back(std::move(*said));
  for (const auto rule : {"l1/alias"_rule, "l2/host-alias"_rule})
    if (const auto shared = plan.before.summary.of(rule).findings; shared != 0)
      u.inferences_.push_back(
          fmt::format("one of the ranges that share something shows another's data ({}; {} {})", rule->name,
                      shared, shared == 1 ? "place" : "places"));
  for (const auto& doubt : verdict.doubts)
    u.inferences_.push_back(fmt::format("what reads as zeros may be data that was lost: {}", doubt));
  u.read_names();
  return result;
}

void Understood::read_names() {
  if (const auto info = analyzer::read_info(*device_, analyzer::Format::qcow2)) {
    backing_name_ = info->backing_name;
    backing_format_ = info->backing_format;
  }
  std::vector<std::byte> cluster(static_cast<std::size_t>(best_->geometry().cluster_size()));
  const auto got = device_->read(0, cluster);
  cluster.resize(static_cast<std::size_t>(got.valid));
  const auto& header = best_->header();
  const std::uint64_t name = header.v2.backing_file_offset.raw();
  const auto area =
      format::parse_extensions(cluster, header.length(), name != 0 ? name : std::uint64_t{cluster.size()});
  if (const auto* found = area.find(format::ExtensionType::encryption))
    encryption_ = format::exact<format::EncryptionExtension>(found->data);
}

base::Result<std::shared_ptr<const engine::Cipher>> Understood::cipher(std::string_view secret) const {
  if (best_->header().v2.crypt_method == static_cast<std::uint32_t>(format::CryptMethod::aes))
    return engine::open_aes(secret);
  if (!encryption_ || encryption_->length == 0 || encryption_->length > most_luks)
    return base::fail(
        base::ErrorKind::usage,
        "it is encrypted, and its LUKS header can't be found: without that nobody can read its data");
  std::vector<std::byte> bytes(static_cast<std::size_t>(encryption_->length));
  const auto got = device_->read(encryption_->offset.raw(), bytes);
  bytes.resize(static_cast<std::size_t>(got.valid));
  return engine::open_luks(bytes, secret);
}

}  // namespace cowvet::repair
