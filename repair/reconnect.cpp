// The name of a backing file that was moved or renamed. Promises: the name that is there stays where it is
// when there is no room for the new one; nothing but the name and its length changes.
#include <fmt/format.h>

#include "base/text.hpp"
#include "repair/remedies.hpp"

namespace cowvet::repair {

using namespace findings::literals;
using findings::Consent;

namespace {

constexpr std::string_view rename_base = "name the backing file as it is called now";

}  // namespace

Remedied reconnect(Draft& draft) {
  const auto* wanted = draft.options().reconnect;
  const auto& verdict = draft.verdict();
  if (wanted == nullptr || !verdict.geometry || verdict.inferred || !verdict.backing_name ||
      *verdict.backing_name == wanted->name || wanted->name.size() > format::limits::max_backing_name)
    return {};
  auto header = draft.header();
  const std::uint64_t at = header.v2.backing_file_offset.raw(), old = header.v2.backing_file_size;
  const std::uint64_t length = wanted->name.size(), end = draft.geometry().cluster_size();
  const Place place{.where = "header.backing_file",
                    .evidence = fmt::format("'{}': {}", base::escape(wanted->name), wanted->evidence)};
  const findings::RuleId rule = "chain/missing"_rule;
  const bool room = at != 0 && at < end && length <= end - at &&
                    (length <= old || base::all_zero(draft.bytes(at + old, length - old)));
  if (!room) {
    draft.withhold(rule, Consent::none, rename_base, place);
    return {};
  }
  auto* action =
      draft.may_act(rule, wanted->proved ? Consent::lossless : Consent::choice, rename_base, place);
  if (action == nullptr) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::max(length, old)));
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(wanted->name[i]);
  if (auto done = draft.put(*action, at, bytes); !done) return done;
  header.v2.backing_file_size = static_cast<std::uint32_t>(length);
  return draft.put(*action, 0, format::encode(header.v2));
}

}  // namespace cowvet::repair
