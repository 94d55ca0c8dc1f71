# SPDX-License-Identifier: Apache-2.0
"""The labels of the page in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "zh")
WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Evaluation", "评测"),
    "skip": ("Skip to the rows", "跳到测试行"),
    "lead_rows": (
        "{rows} test rows, {lettered} with an answer letter",
        "{rows} 个测试行，其中 {lettered} 行有答案字母",
    ),
    "base": ("base model", "基础模型"),
    "step": ("step {step}", "第 {step} 步"),
    "merged": ("step {step}, merged", "第 {step} 步（已合并）"),
    "better": ("better", "更好"),
    "worse": ("worse", "更差"),
    "not seen": ("no difference seen", "看不出差异"),
    "accuracy": ("accuracy", "正确率"),
    "ce": ("CE, text loss", "CE（文本损失）"),
    "mse": ("MSE, picture loss", "MSE（图像损失）"),
    "accuracy_short": ("accuracy", "正确率"),
    "ce_short": ("CE", "CE"),
    "mse_short": ("MSE", "MSE"),
    "points": ("points", "个百分点"),
    "to": ("to", "至"),
    "interval": ("95 % interval", "95 % 区间"),
    "of": ("of", "/"),
    "gained_lost": ("{gained} rows became right, {lost} became wrong", "{gained} 行变对，{lost} 行变错"),
    "rows_compared": ("on {rows} rows", "共 {rows} 行"),
    "overview": ("Numbers", "数值"),
    "subject": ("model", "模型"),
    "right": ("right", "答对"),
    "unparsed": ("no letter", "无字母"),
    "failed": ("failed", "失败"),
    "tokens": ("tokens", "token 数"),
    "pictures": ("pictures", "图片数"),
    "seconds": ("seconds", "秒"),
    "compared": ("Compared on the same rows", "在相同行上的比较"),
    "pair": ("models", "模型"),
    "measure": ("measure", "指标"),
    "difference": ("difference", "差值"),
    "changed_rows": ("rows", "行"),
    "p": ("p", "p 值"),
    "seen": ("seen", "结论"),
    "tests": (
        "Accuracy: Wilson's interval; McNemar's exact test on the rows that changed; its difference with the interval "
        "of the paired t-test. Losses: mean of the rows' means; paired t-test. "
        "Tokens, pictures, seconds: means of a row.",
        "正确率：Wilson 区间；对发生变化的行做 McNemar 精确检验；差值的区间来自配对 t 检验。损失：各行均值的平均；"
        "配对 t 检验。token 数、图片数和秒数都是每行的平均值。",
    ),
    "chance": ("Guessing is right in {chance} of the rows (dashed line).", "随机猜测的正确率为 {chance}（虚线）。"),
    "visible": (
        "With {rows} rows a gain of {gain} points or more over {of} would be seen in {power} of the cases. A "
        "smaller one may be there unseen.",
        "共 {rows} 行：比 {of} 高出 {gain} 个百分点以上的提升，有 {power} 的机会被看出。更小的提升可能存在而看不出。",
    ),
    "plots": ("Plots", "图表"),
    "plot_accuracy": ("Accuracy in %, with 95 % intervals", "正确率（%），含 95 % 区间"),
    "plot_ce": ("Text loss (CE) on the test rows", "测试行的文本损失（CE）"),
    "plot_mse": ("Picture loss (MSE) on the test rows", "测试行的图像损失（MSE）"),
    "plot_curve": ("Training loss {name} by step", "训练损失 {name}（按步数）"),
    "gallery": ("Rows", "测试行"),
    "filter": ("Show", "显示"),
    "all": ("all", "全部"),
    "wrong": ("wrong", "答错"),
    "changed": ("changed", "有变化"),
    "lower": ("lower loss", "损失更低"),
    "higher": ("higher loss", "损失更高"),
    "count": ("rows shown", "行已显示"),
    "keys": ("Keys: j and k go to the next and the previous row.", "按键：j 下一行，k 上一行。"),
    "row": ("Row {row}", "第 {row} 行"),
    "expected_letter": ("expected", "正确答案"),
    "question": ("Question", "问题"),
    "expected": ("Expected", "标准解答"),
    "generated": ("Generated", "生成的解答"),
    "none": ("not answered yet", "尚未作答"),
    "no_letter": ("none", "无"),
    "gained": ("became right", "变对"),
    "lost": ("became wrong", "变错"),
    "enlarge": ("Enlarge", "放大"),
    "close": ("Close", "关闭"),
    "no_picture": ("picture left out", "图片已略去"),
    "cut": ("text is cut here", "文字在此截断"),
    "notes": ("Please note", "请注意"),
    "pictures_small": (
        "Pictures are at most {side} pixels wide or high here; the full ones are in the folder {folder}.",
        "此处图片的边长不超过 {side} 像素；完整图片在目录 {folder} 中。",
    ),
    "pictures_dropped": (
        "{number} pictures are left out, so that the page keeps below {limit} MB; all are in the folder {folder}.",
        "为使页面不超过 {limit} MB，略去了 {number} 张图片；全部图片在目录 {folder} 中。",
    ),
    "rows_dropped": (
        "{number} rows are left out of the gallery, so that the page keeps below {limit} MB; evaluation.json has all.",
        "为使页面不超过 {limit} MB，图库中略去了 {number} 行；evaluation.json 中有全部行。",
    ),
    "subjects_left": (
        "The gallery shows the base and {name}; solutions of {others} are in the folder {folder}.",
        "图库显示基础模型和 {name}；{others} 的解答在目录 {folder} 中。",
    ),
    "origin": ("Where the numbers come from", "数值的来源"),
    "work_loss": ("losses", "损失"),
    "work_answers": ("answers", "作答"),
    "weights": ("weights", "权重"),
    "data": ("test file", "测试文件"),
    "code": ("code", "代码"),
    "seed": ("seed", "种子"),
    "settings": ("settings", "设置"),
    "device": ("device", "设备"),
    "peak": ("GPU memory, at most", "GPU 显存峰值"),
    "time": ("from, to", "起止时间"),
    "version": ("program", "程序"),
}


def word(key: str, language: int, **values: object) -> str:
    """A label in English (0) or Chinese (1)."""
    return WORDS[key][language].format(**values)
